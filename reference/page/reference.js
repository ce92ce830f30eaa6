// The API reference at /docs. Scalar shows the service's own OpenAPI document; everything that
// would reach another host, or that the original page does not have, is off.
"use strict";

// The five languages of the reference; of each, one client.
const CLIENTS = {
  shell: "curl",
  python: "requests",
  js: "fetch",
  go: "native",
  ruby: "native",
};

// Every other client that Scalar knows.
const HIDDEN = {
  c: true,
  clojure: true,
  csharp: true,
  dart: true,
  fsharp: true,
  http: true,
  java: true,
  js: ["axios", "jquery", "ofetch", "xhr"],
  julia: true,
  kotlin: true,
  node: true,
  objc: true,
  ocaml: true,
  php: true,
  powershell: true,
  python: ["python3", "aiohttp", "httpx_sync", "httpx_async"],
  r: true,
  rust: true,
  shell: ["httpie", "wget"],
  swift: true,
};

const CONFIGURATION = {
  // The document's own server is "/". Here it is a variable, which gives it a field to edit.
  servers: [
    {
      url: "{baseUrl}",
      description: "Base URL",
      variables: { baseUrl: { default: location.origin } },
    },
  ],
  authentication: { preferredSecurityScheme: "bearerToken" },
  // A token is kept no longer than the page is open.
  persistAuth: false,
  hiddenClients: HIDDEN,
  defaultHttpClient: { targetKey: "shell", clientKey: CLIENTS.shell },

  // There is one way to authenticate: what says so would only crowd the heading out. And on a phone
  // the dialog of a request is as wide as the screen, not as its longest line: else "Send" is off it.
  // The colours are Scalar's, as far darker or lighter as WCAG 2.2 asks for (4.5 to 1).
  customCss: `
    .light-mode.light-mode {
      --scalar-color-2: #5f5f5f;
      --scalar-color-3: #666666;
      --scalar-color-green: #00693f;
      --scalar-color-red: #b80d0d;
      --scalar-color-yellow: #7a5600;
      --scalar-color-blue: #005c9e;
      --scalar-color-orange: #a33700;
    }
    .dark-mode.dark-mode {
      --scalar-color-3: #9c9c9c;
      --scalar-color-red: #ff7b72;
    }
    [data-testid="auth-indicator"] { display: none; }
    @media (width < 48rem) {
      .scalar-client main > div,
      .scalar-client main .custom-scroll :is(div, section) { min-width: 0; }
    }
  `,
  layout: "modern",
  theme: "default",
  metaData: { title: "Application webhooks: API reference" },
  defaultOpenAllTags: true,
  documentDownloadType: "none",
  hideClientButton: true,
  showDeveloperTools: "never",

  // Nothing from elsewhere, and nothing to elsewhere.
  withDefaultFonts: false,
  proxyUrl: "",
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
};

// Each language's code is the document's own (`x-codeSamples`), with what the page knows in it: the base URL
// and the token, of which Scalar made `request`. The bundle asks for it: see vendor/renew.sh.
const LANGUAGES = { shell: "Shell", python: "Python", js: "JavaScript", go: "Go", ruby: "Ruby" };

globalThis.ownSample = (client, samples, request) => {
  const language = LANGUAGES[client.split("/")[0]];
  const sample = samples.find(({ lang }) => lang === language);
  if (!sample) return undefined;
  const base = request.url.match(/^(.*?)\/(?:api\/v1|healthz|readyz|dispatcher|\.well-known)(?:\/|$)/)?.[1];
  const authorization = request.headers.find(({ name }) => name.toLowerCase() === "authorization");
  const token = authorization?.value.match(/^Bearer (\S+)$/)?.[1];
  // The ids of the fields, unless one of them is empty.
  const path = request.url.slice((base ?? "").length).split("?")[0];
  const filledIn = base !== undefined && !/[{}]|%7B/i.test(path) && !path.includes("//");
  return sample.source
    .replace(/https:\/\/webhooks\.example\.com[^?'"\s`]*/, (url) =>
      filledIn ? "https://webhooks.example.com" + path : url)
    .replaceAll("https://webhooks.example.com", base ?? location.origin)
    .replaceAll("YOUR_TOKEN", token ?? "YOUR_TOKEN");
};

// What Scalar would make of the document is a chooser for each parameter with an example, and a
// first request with every header, the same idempotency key each time. Here the examples are in
// fields that can be written in, and parameters that are not required are off until wanted.
function adapt(document) {
  for (const path of Object.values(document.paths)) {
    for (const operation of Object.values(path)) {
      for (const parameter of operation.parameters ?? []) {
        const { examples = [], ...schema } = parameter.schema;
        const value = parameter.example ?? examples[0];
        delete parameter.example;
        parameter.schema = schema;
        if (value !== undefined) {
          parameter.examples = { default: { value, "x-disabled": !parameter.required } };
        }
      }
    }
  }
  document.info.description =
    "[OpenAPI document](/openapi.json) · [How to verify deliveries](/docs/receivers) · " +
    "[How to receive them](/docs/receiving)\n\n" +
    document.info.description;
  return document;
}

// Scalar's buttons that copy have a picture and no name.
function nameButtons() {
  for (const button of document.querySelectorAll("button.scalar-code-copy:not([aria-label])")) {
    button.setAttribute("aria-label", "Copy");
  }
}

// Has what a response named filled into the fields of all operations. Scalar has two copies of the document,
// one for its dialog, which a hook gets, and one for the page. Both are reactive: what shows a field shows
// its new value.
async function carryOver(carry, { request, response, document }) {
  if (!(await carry.learn(request, response))) return;
  const { documents, ...workspace } = dataDumpWorkspace().workspace;
  for (const { paths } of [document, documents[workspace["x-scalar-active-document"]]]) carry.fill(paths);
}

// It must not keep a response from being shown.
function carrying(carry) {
  const hooks = {
    responseReceived: (exchange) => {
      // Scalar ends the body of what it hands out.
      const response = exchange.response.clone();
      carryOver(carry, { ...exchange, response }).catch(console.error);
    },
  };
  return () => ({ name: "carry-over", extensions: [], apiClientPlugins: [{ hooks }] });
}

async function show() {
  new MutationObserver(nameButtons).observe(document.body, { childList: true, subtree: true });
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`/openapi.json: ${response.status}`);
  const content = adapt(await response.json());
  const carry = new Carry(content.paths);
  Scalar.createApiReference("#reference", {
    ...CONFIGURATION,
    content,
    plugins: [carrying(carry)],
  });
}

show().catch((error) => {
  document.querySelector("#reference").textContent = `The reference cannot be shown: ${error.message}`;
});
