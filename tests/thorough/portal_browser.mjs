// The portal with everything real: bearerd, nginx with the snippet of docs/portal.md, Chromium.
//
// Called by parts/portal.sh with the path of the daemon's binary and a folder for screenshots. Prints a line for
// each story; the first expectation that does not hold ends it.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRequire } from "node:module";

const { chromium } = createRequire(join(process.cwd(), "x.js"))("playwright-core");

const [binary, shots] = process.argv.slice(2);
const repository = new URL("../..", import.meta.url).pathname;
const work = mkdtempSync(join(tmpdir(), "bearerd-portal-"));
const PHONE = { width: 360, height: 740 };
const started = [];
mkdirSync(shots, { recursive: true });

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

async function until(what, ask) {
  for (let round = 0; round < 600; round += 1) {
    const answer = await ask();
    if (answer) return answer;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`waited in vain: ${what}`);
}

function start(program, args, options = {}) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  child.said = "";
  child.stdout.on("data", (data) => (child.said += data));
  child.stderr.on("data", (data) => (child.said += data));
  started.push(child);
  return child;
}

// ---- the four parties ----

const ports = { public: await freePort(), foreign: await freePort(), daemon: await freePort(), app: await freePort() };
const origin = `https://localhost:${ports.public}`;

async function startDaemon() {
  const config = join(work, "bearerd.toml");
  writeFileSync(
    config,
    `[server]
listen = ["127.0.0.1:${ports.daemon}"]
public_url = "${origin}"
trusted_proxies = ["127.0.0.1"]
[authorize.portal]
kinds = ["portal"]
`,
  );
  const daemon = start(binary, ["serve", "--config", config, "--data", join(work, "data")], {
    env: { ...process.env, BEARERD_LOG: "trace" },
  });
  await until("the daemon", () => daemon.said.includes("listening on"));
  return daemon;
}

/** Asks over the admin socket. */
function api(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body ? { "content-type": "application/json" } : {};
    const request = http.request(
      { socketPath: join(work, "data/admin.sock"), method, path, headers, host: "bearerd" },
      async (response) => {
        let text = "";
        for await (const part of response) text += part;
        resolve({ status: response.statusCode, json: text ? JSON.parse(text) : null });
      },
    );
    request.on("error", reject).end(body ? JSON.stringify(body) : undefined);
  });
}

async function made(path, body) {
  const answer = await api("POST", path, body);
  assert.equal(answer.status, 201, JSON.stringify(answer));
  return answer.json;
}

/** The snippet of the documentation, with this machine's addresses in the places of the example's. */
async function startNginx() {
  const docs = readFileSync(join(repository, "docs/portal.md"), "utf8");
  let snippet = docs.match(/```nginx\n(.*?)```/s)[1];
  const cert = join(work, "cert.pem");
  const key = join(work, "key.pem");
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"].concat(
      ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
    ),
    { stdio: "ignore" },
  );
  for (const [example, real] of [
    ["server 127.0.0.1:8420;", `server 127.0.0.1:${ports.daemon};`],
    ["server 127.0.0.1:3000;", `server 127.0.0.1:${ports.app};`],
    ["listen 443 ssl;", `listen 127.0.0.1:${ports.public} ssl;`],
    ["server_name portal.example.com;", "server_name localhost;"],
    ["/etc/ssl/portal.pem", cert],
    ["/etc/ssl/portal.key", key],
  ]) {
    assert.ok(snippet.includes(example), `the snippet has ${example}`);
    snippet = snippet.replace(example, real);
  }
  const config = join(work, "nginx.conf");
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${join(work, name)};`)
    .join("\n");
  const user = process.getuid() === 0 ? "user root;" : "";
  writeFileSync(
    config,
    `${user}
daemon off;
pid ${join(work, "nginx.pid")};
error_log ${join(work, "error.log")} info;
events {}
http {
  ${paths}
  log_format whole '$request|$http_referer|$http_cookie';
  access_log ${join(work, "access.log")} whole;
  ${snippet}
}
`,
  );
  const nginx = start("nginx", ["-p", work, "-c", config]);
  await until("nginx", () => existsSync(join(work, "nginx.pid")) || nginx.exitCode !== null);
  assert.equal(nginx.exitCode, null, nginx.said + (existsSync(join(work, "error.log")) ? readFileSync(join(work, "error.log")) : ""));
}

/** An application that says whom it was told is there, and what it was sent. */
const seen = [];
function startApplication() {
  http
    .createServer((request, response) => {
      seen.push(`${request.method} ${request.url} referer=${request.headers.referer ?? ""}`);
      response.setHeader("content-type", "text/html; charset=utf-8");
      response.end(`<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">
        <link rel="icon" href="data:,"><title>Board</title>
        <h1>Board</h1><p id="who">${request.headers["x-auth-subject"]}</p>
        <form method="post" action="/portal/logout"><button>Sign out</button></form>`);
    })
    .listen(ports.app, "127.0.0.1");
}

/** Another site, which means harm. */
let harm = "";
function startForeignSite() {
  http
    .createServer((request, response) => {
      response.setHeader("content-type", "text/html");
      if (request.url.startsWith("/no-referrer")) response.setHeader("referrer-policy", "no-referrer");
      response.end(`<!doctype html><link rel="icon" href="data:,">${harm}`);
    })
    .listen(ports.foreign, "127.0.0.1");
}

const daemon = await startDaemon();
startApplication();
startForeignSite();
await startNginx();

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: process.getuid() === 0 ? ["--no-sandbox"] : [],
});

// ---- what every story uses ----

const client = await made("/v1/clients", { slug: "acme", name: "Acme & Söhne <b>GmbH</b>" });
const link = (wishes) => made(`/v1/clients/${client.id}/links`, wishes);
const complaints = [];

/** A browser of its own; whatever its console complains about is kept. */
async function visitor(options = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: PHONE, ...options });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  return page;
}

const heading = (page) => page.locator("h1").innerText();
const sessionCookie = async (page) =>
  (await page.context().cookies(origin)).find((cookie) => cookie.name === "__Host-portal_session");

/** With the browser's cookies, but not from a page: ours let no script ask for anything. */
async function told(page) {
  const answer = await page.context().request.get(`${origin}/portal/session`);
  return { status: answer.status(), json: await answer.json() };
}

/** Legible on a phone: nothing runs out sideways, text is of a readable size, the button can be hit. */
async function isLegible(page, name) {
  const measured = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    text: Math.min(...[...document.querySelectorAll("h1, p, button")].map((e) => parseFloat(getComputedStyle(e).fontSize))),
    button: document.querySelector("button")?.getBoundingClientRect().height ?? 99,
    lang: document.documentElement.lang,
    title: document.title,
  }));
  assert.ok(measured.wide <= PHONE.width, `${name}: ${measured.wide} px wide`);
  assert.ok(measured.text >= 16 && measured.button >= 44, `${name}: ${JSON.stringify(measured)}`);
  assert.ok(measured.lang === "en" && measured.title.length > 3);
  await page.screenshot({ path: join(shots, `${name}.png`) });
}

const stories = {
  async "whoever has no link sees what to do, under the address that they asked for"() {
    for (const colorScheme of ["light", "dark"]) {
      const page = await visitor({ colorScheme });
      const answer = await page.goto(`${origin}/board?a=b`);
      assert.equal(answer.status(), 401);
      assert.equal(await heading(page), "Access required");
      assert.equal(page.url(), `${origin}/board?a=b`);
      await isLegible(page, `access-required-${colorScheme}`);
    }
  },

  async "a link leads in, leaves the address bar, and is shut at once when it is revoked"() {
    const made = await link({ redirect: "/board?x=1#there" });
    assert.ok(made.url.startsWith(`${origin}/portal/enter?token=`));
    const page = await visitor();
    await page.goto(made.url);
    assert.equal(page.url(), `${origin}/board?x=1#there`);
    assert.equal(await page.locator("#who").innerText(), client.id);
    assert.equal(await page.evaluate(() => document.referrer), "");
    assert.equal(await page.evaluate(() => document.cookie), "", "no script can read it");
    const cookie = await sessionCookie(page);
    assert.ok(cookie.httpOnly && cookie.secure && cookie.path === "/" && cookie.sameSite === "Lax");
    assert.ok(Math.abs(cookie.expires - Date.now() / 1000 - 30 * 86400) < 60);
    const session = await told(page);
    assert.equal(session.json.client.id, client.id);
    assert.equal(session.json.client.name, client.name);
    assert.equal(session.json.link_id, made.id);

    assert.equal((await api("DELETE", `/v1/links/${made.id}`)).status, 204);
    assert.equal((await page.reload()).status(), 401);
    assert.equal(await heading(page), "Access required");
    assert.equal((await told(page)).status, 401);
    assert.equal((await page.goto(made.url)).status(), 401);
    assert.equal(await heading(page), "Access required");
  },

  async "a client that is deactivated is out until it is active again"() {
    const made = await link({ redirect: "/board" });
    const page = await visitor();
    await page.goto(made.url);
    assert.equal(await heading(page), "Board");
    await api("PATCH", `/v1/clients/${client.id}`, { active: false });
    assert.equal((await page.reload()).status(), 401);
    await api("PATCH", `/v1/clients/${client.id}`, { active: true });
    await page.reload();
    assert.equal(await heading(page), "Board");
  },

  async "a single-use link waits for its button and admits once"() {
    const made = await link({ single_use: true, redirect: "/board" });
    for (const colorScheme of ["light", "dark"]) {
      const page = await visitor({ colorScheme });
      for (let round = 0; round < 3; round += 1) await page.goto(made.url);
      assert.equal(await heading(page), client.name, "the name is text");
      assert.equal(await sessionCookie(page), undefined);
      await isLegible(page, `button-${colorScheme}`);
    }
    const page = await visitor();
    await page.goto(made.url);
    await page.keyboard.press("Tab");
    await page.screenshot({ path: join(shots, "button-focused.png") });
    const pressed = page.waitForRequest((request) => request.method() === "POST");
    await page.keyboard.press("Enter");
    const headers = await (await pressed).allHeaders();
    assert.equal(headers.origin, "null", "the page tells nobody where it is");
    assert.equal(headers["sec-fetch-site"], "same-origin");
    await page.waitForURL(`${origin}/board`);
    assert.equal(await page.locator("#who").innerText(), client.id);

    const other = await visitor();
    assert.equal((await other.goto(made.url)).status(), 401);
    assert.equal(await heading(other), "Access required");
    await page.reload();
    assert.equal(await heading(page), "Board", "who is in stays in");
    assert.equal((await api("DELETE", `/v1/links/${made.id}`)).status, 204);
    assert.equal((await page.reload()).status(), 401);
  },

  async "logging out by the application's form takes the cookie away"() {
    const made = await link({ redirect: "/board" });
    const page = await visitor();
    await page.goto(made.url);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL(`${origin}/portal/logout`);
    assert.equal(await heading(page), "Signed out");
    await isLegible(page, "signed-out");
    assert.equal(await sessionCookie(page), undefined);
    assert.equal((await page.goto(`${origin}/board`)).status(), 401);
  },

  async "a request with a body that may not pass sees the page too"() {
    const page = await visitor();
    await page.goto(`${origin}/portal/enter`);
    const answer = await page.context().request.post(`${origin}/board`, {
      data: "x".repeat(10_000),
      headers: { accept: "text/html", "content-type": "text/plain" },
    });
    assert.equal(answer.status(), 401);
    assert.ok((await answer.text()).includes("Access required"));
  },

  async "another site neither logs in nor out, spends nothing, and frames nothing"() {
    const victim = await link({ redirect: "/board" });
    const planted = await link({ single_use: true, redirect: "/board" });
    for (const path of ["/", "/no-referrer"]) {
      for (const [action, fields] of [
        ["/portal/logout", ""],
        ["/portal/enter", `<input name="token" value="${planted.token}">`],
      ]) {
        const page = await visitor();
        await page.goto(victim.url);
        const before = (await sessionCookie(page)).value;
        harm = `<form method="post" action="${origin}${action}">${fields}<button>Win a prize</button></form>`;
        await page.goto(`http://127.0.0.1:${ports.foreign}${path}`);
        const [answer] = await Promise.all([
          page.waitForResponse((response) => response.url() === `${origin}${action}`),
          page.getByRole("button").click(),
        ]);
        assert.equal(answer.status(), 403, `${path} ${action}`);
        await page.waitForURL(`${origin}${action}`);
        assert.equal(await heading(page), "Not from here");
        await isLegible(page, "not-from-here");
        assert.equal((await sessionCookie(page)).value, before);
      }
    }
    const page = await visitor();
    const mark = complaints.length;
    harm = `<iframe src="${planted.url}" width="300" height="300"></iframe>`;
    await page.goto(`http://127.0.0.1:${ports.foreign}/`);
    await until("the frame", () => complaints.length > mark);
    const framed = page.frames().find((frame) => frame !== page.mainFrame());
    assert.equal(await framed.locator("button").count(), 0, "the button is in no frame");
    complaints.length = mark;
    await page.goto(planted.url);
    await page.getByRole("button", { name: "Open the portal" }).click();
    await page.waitForURL(`${origin}/board`);
  },

  async "whatever is taken for a redirect stays on the origin in a browser's reading"() {
    const pieces = ["/", "//", "\\", ".", "..", "%2e", "%2E%2e", "%09", "%0a", "%2f", "%5c", "\t", "\n", "\r", " "].concat(
      ["evil.example", "@", "@evil.example", ":", ":80", "?", "#", "https:", "http://", "javascript:", "／", "。", "\u00a0"],
      ["\u200b", "\ufeff", "\u0000", "\u007f", "\u0085", "[::1]", "%", "%zz", ";", "&", "=", "a", "é", "😀", "|", "^", "<"],
    );
    const fixed = ["/%09/evil.example", "/.//evil.example", "/..//evil.example", "/%2e//evil.example", "/;//evil.example"];
    const candidates = new Set(fixed);
    const rounds = Number(process.env.BEARERD_TEST_REDIRECTS ?? 3000);
    while (candidates.size < rounds) {
      const length = 1 + Math.floor(Math.random() * 6);
      const rest = Array.from({ length }, () => pieces[Math.floor(Math.random() * pieces.length)]).join("");
      candidates.add(Math.random() < 0.8 ? `/${rest}` : rest);
    }
    const taken = [];
    let refused = 0;
    for (const redirect of candidates) {
      const answer = await api("POST", `/v1/clients/${client.id}/links`, { redirect });
      if (answer.status === 201) taken.push({ redirect, token: answer.json.token });
      else refused += 1;
      if (answer.status !== 201) assert.equal(answer.status, 400);
    }
    for (const entry of taken) {
      entry.location = await new Promise((resolve, reject) => {
        http
          .get({ port: ports.daemon, host: "127.0.0.1", path: `/portal/enter?token=${entry.token}` }, (response) => {
            response.resume();
            resolve(response.headers.location);
          })
          .on("error", reject);
      });
    }
    const page = await visitor();
    await page.goto(`${origin}/portal/enter`);
    const gone = await page.evaluate((entries) => {
      const stays = (text) => new URL(text, location.href).origin === location.origin;
      return entries.filter((entry) => !stays(entry.location) || !stays(entry.redirect));
    }, taken);
    assert.deepEqual(gone, []);
    assert.ok(taken.length > rounds / 20 && refused > rounds / 20, `${taken.length} taken, ${refused} refused`);
    // And for real, where they go.
    for (const redirect of fixed) {
      const { url } = await link({ redirect });
      await page.goto(url);
      assert.equal(new URL(page.url()).origin, origin, redirect);
    }
    console.log(`    ${taken.length} redirects taken, ${refused} refused; none leaves the origin`);
  },

  async "no token is in any log, and no page complained"() {
    const logs = [daemon.said, seen.join("\n"), readFileSync(join(work, "access.log"), "utf8"), readFileSync(join(work, "error.log"), "utf8")];
    for (const log of logs) assert.ok(!log.includes("bdr_lnk_"), "a link in a log");
    assert.ok(!daemon.said.includes("v1.2"), "a cookie in the daemon's log");
    // Chromium reports every 401 and 403 as an error of its own; those are what was asked for.
    const real = complaints.filter((text) => !/status of 40[13]/.test(text));
    assert.deepEqual(real, []);
  },
};

let failed = false;
let telling = "";
try {
  for (const [name, story] of Object.entries(stories)) {
    telling = name;
    await story();
    console.log(`ok portal in a browser: ${name}`);
  }
} catch (error) {
  failed = true;
  console.log(`FAIL portal in a browser: ${telling}`);
  console.error(error);
  console.error(daemon.said.split("\n").slice(-15).join("\n"));
} finally {
  await browser.close();
  for (const child of started) child.kill("SIGTERM");
  await Promise.all(started.filter((child) => child.exitCode === null).map((child) => once(child, "exit")));
}
process.exit(failed ? 1 : 0);
