// How a merchant uses the page: by mouse or finger, or by the keyboard alone.
import assert from "node:assert/strict";

export class Mouse {
  constructor(page) {
    this.page = page;
  }

  press(control) {
    return control.click();
  }

  write(field, text) {
    return field.fill(text);
  }

  async choose(choice, isChosen = true) {
    await choice.setChecked(isChosen);
  }

  async select(list, name) {
    await list.selectOption({ label: name });
  }
}

// As far as a control is away at most, in steps of the Tab key.
const STEPS = 250;

export class Keyboard {
  constructor(page) {
    this.page = page;
  }

  // Steps on until the control has the focus, and sees that this is seen.
  async reach(control) {
    await control.waitFor();
    const isThere = () => control.evaluate((element) => element === document.activeElement);
    for (let step = 0; !(await isThere()); step += 1) {
      assert.ok(step < STEPS, `${control} is not reached by the Tab key`);
      await this.page.keyboard.press("Tab");
    }
    // A link of a row shows it on the row.
    const isSeen = await control.evaluate((element) => {
      const marked = [element, element.closest(".row")].filter(Boolean);
      return marked.some((one) => getComputedStyle(one).outlineStyle !== "none");
    });
    assert.ok(isSeen, `where the focus is, is not seen: ${control}`);
  }

  async press(control) {
    await this.reach(control);
    await this.page.keyboard.press("Enter");
  }

  async write(field, text) {
    await this.reach(field);
    await this.page.keyboard.press("ControlOrMeta+a");
    await this.page.keyboard.press("Delete");
    // All at once, as pasted: a new line would be a key of its own in a field of one line.
    await this.page.keyboard.insertText(text);
  }

  async choose(choice, isChosen = true) {
    await choice.waitFor();
    if ((await choice.isChecked()) === isChosen) return;
    if ((await choice.getAttribute("type")) === "radio") {
      // Of a group of radio buttons the Tab key reaches the chosen one.
      const name = await choice.getAttribute("name");
      await this.reach(this.page.locator(`input[type=radio][name="${name}"]:checked`));
      for (let step = 0; !(await choice.isChecked()); step += 1) {
        assert.ok(step < 20, `${choice} is not reached by the arrow keys`);
        await this.page.keyboard.press("ArrowDown");
      }
      return;
    }
    await this.reach(choice);
    await this.page.keyboard.press("Space");
    assert.equal(await choice.isChecked(), isChosen);
  }

  async select(list, name) {
    await this.reach(list);
    const chosen = () => list.evaluate((element) => element.selectedOptions[0].label);
    await this.page.keyboard.press("Home");
    for (let step = 0; (await chosen()) !== name; step += 1) {
      assert.ok(step < 50, `${name} is not reached by the arrow keys`);
      await this.page.keyboard.press("ArrowDown");
    }
  }
}
