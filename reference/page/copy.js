// A button at each block of code that copies it. Without scripts there are none.
"use strict";

// The clipboard is there over https and on this machine; elsewhere the text is selected and copied by the
// command that browsers keep for that.
async function copy(code) {
  if (navigator.clipboard) return navigator.clipboard.writeText(code.textContent);
  const selection = getSelection();
  selection.selectAllChildren(code);
  const copied = document.execCommand("copy");
  selection.removeAllRanges();
  if (!copied) throw new Error("the browser copies nothing");
}

for (const block of document.querySelectorAll("pre")) {
  const heading = document.getElementById(block.getAttribute("aria-labelledby") ?? "");
  const name = heading ? `Copy: ${heading.textContent}` : "Copy this code";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", name);
  button.addEventListener("click", async () => {
    try {
      await copy(block.querySelector("code"));
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  const frame = document.createElement("div");
  frame.className = "code";
  block.replaceWith(frame);
  frame.append(block, button);
}
