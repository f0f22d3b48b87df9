//! The pages of `adce up`: by HTTP, as whoever has no script sees them, and by a real browser.

mod support;

use std::path::PathBuf;
use std::process::Child;

use support::browser::Browser;
use support::place::{Place, said, signal, wait_for};
use support::web::Web;

const CONFIG: &str = "version: 1
name: watched
lake: ./lake
server: { listen: \"127.0.0.1:0\" }
sources:
  here: { hosts: [localhost], importance: 1.5, limits: { per_minute: 60 } }
dimensions:
  season: [\"2023-24\", \"2024-25\"]
  number: [1, 2, 3, 4]
collectors:
  good: { command: [sh, -c, 'echo said by good; echo hello > \"$1\"', sh, \"{out}\"] }
  bad: { command: [sh, -c, 'echo \"no <script>alert(1)</script>\" >&2; exit 1'], retry: { attempts: 1, revive: 5h..24h } }
datasets:
  box: { key: \"box/{season}/{number}.txt\", for: [season, number], collector: good, source: here }
  broken: { key: \"broken/{number}.txt\", for: number, collector: bad, priority: high }
  other: { key: \"other/{season}/{number}.txt\", for: [season, number] }
engine: { reconcile_every: 5h }
";

const PAGES: [&str; 8] = ["/", "/coverage", "/queue", "/sources", "/cycles", "/config", "/api", "/login"];

struct Up {
    place: Place,
    engine: Option<Child>,
    web: Web,
}

impl Up {
    fn settled() -> Up {
        let place = Place::new(CONFIG);
        let engine = Some(place.start(&["up", "--yes"]));
        let web = Web::of(&place);
        let up = Up { place, engine, web };
        wait_for("all is tried", || {
            let status = up.web.get("/v1/status").json();
            status["coverage"]["present"] == 8 && status["gaps"]["exhausted"] == 4 && status["gaps"]["running"] == 0
        });
        up
    }

    #[track_caller]
    fn token(&self, name: &str, role: &str) -> String {
        let said = self.place.adce(&["token", "create", name, "--role", role]);
        said.ends_with(0);
        said.out.trim().to_owned()
    }

    /// With a session's cookie, and the word of its forms.
    #[track_caller]
    fn logged_in(&self, role: &str) -> (Web, String) {
        let token = self.token(&format!("a-{role}"), role);
        let form = self.web.with("Content-Type", "application/x-www-form-urlencoded");
        let told = form.send("POST", "/login", Some(&format!("token={token}&back=/queue")));
        assert_eq!((told.is(303).header("location"), told.body.as_str()), (Some("/queue"), ""));
        let cookie = told.header("set-cookie").expect("a cookie");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let web = self.web.with("Cookie", cookie.split(';').next().expect("a pair"));
        let page = web.get("/").is(200).body.clone();
        let word = page.split("name=\"word\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form's word").to_owned();
        (web.with("Content-Type", "application/x-www-form-urlencoded"), word)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            signal("-INT", engine.id() as i32);
            said(engine.wait_with_output().expect("it ends"));
        }
    }
}

#[test]
fn every_page_is_whole_without_a_script_and_brings_nothing_of_others() {
    let up = Up::settled();
    let task = up.web.get("/v1/tasks").json()["items"][0]["id"].as_str().unwrap().to_owned();
    let more = [
        ("/coverage?dataset=box&by=season,number".to_owned(), "2023-24"),
        ("/coverage?by=dataset".into(), "broken"),
        ("/items?dataset=broken&state=exhausted".into(), "broken/4.txt"),
        ("/items?dataset=other&season=2023-24&number=2".into(), "other/2023-24/2.txt"),
        ("/item?key=broken/1.txt".into(), "used up"),
        (format!("/task/{task}"), "exit 1"),
        ("/queue?state=exhausted&priority=high".into(), "× 1.00"),
    ];
    let pages = PAGES.map(|path| (path.to_owned(), "adce")).into_iter().chain(more);
    for (path, text) in pages {
        let page = up.web.get(&path);
        page.is(200);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert!(page.body.contains(text), "{path}: no `{text}` in {}", page.body);
        assert!(page.header("content-security-policy").is_some_and(|policy| !policy.contains("unsafe")), "{path}");
        assert_eq!(page.body.matches("<script").count(), page.body.matches("<script src=\"/static/adce.js\"").count(), "{path}");
        for foreign in [" style=", " onclick", "http://", "https://", "<script>alert"] {
            let shown = page.body.replace("http://www.w3.org", "");
            assert!(!shown.contains(foreign) || path == "/api", "{path}: `{foreign}`");
        }
        assert!(!page.body.contains("action=\"/do/"), "{path}: who is not logged in has no forms");
    }
    let of_cell = up.web.get("/items?dataset=other&season=2023-24&number=2").body.clone();
    assert_eq!(of_cell.matches("href=\"/item?key=").count(), 1, "one item is in that cell");
    up.web.get("/audit").is(401);
    up.web.get("/task/nothing").is(404);
    for (path, kind) in [
        ("/picture/trend.svg?dataset=box", "image/svg+xml"),
        ("/picture/coverage.svg?dataset=box", "image/svg+xml"),
        ("/static/adce.js", "text/javascript; charset=utf-8"),
    ] {
        assert_eq!(up.web.get(path).is(200).header("content-type"), Some(kind), "{path}");
    }
}

#[test]
fn a_form_does_what_its_session_may_and_without_its_word_nothing() {
    let up = Up::settled();
    let (operator, word) = up.logged_in("operator");
    let act = |web: &Web, act: &str, body: String| web.send("POST", &format!("/do/{act}"), Some(&body));
    act(&operator, "pause", "what=source%3Ahere&back=/".into()).is(403);
    act(&operator, "pause", "word=wrong&what=source%3Ahere&back=/".into()).is(403);
    assert_eq!(up.web.get("/v1/status").json()["paused"], serde_json::json!([]));
    act(&operator.with("Origin", "https://evil.example"), "pause", format!("word={word}&what=source%3Ahere")).is(403);
    let told = act(&operator, "pause", format!("word={word}&what=source%3Ahere&back=//evil.example"));
    assert_eq!(told.is(303).header("location"), Some("/"));
    assert_eq!(up.web.get("/v1/status").json()["paused"][0]["name"], "here");
    act(&operator, "resume", format!("word={word}&what=source%3Ahere&back=/sources")).is(303);
    act(&operator, "retry", format!("word={word}&what=broken%2F1.txt&back=/")).is(303);
    act(&operator, "nothing", format!("word={word}&what=x")).is(404);
    // A cookie alone is no token.
    operator.with("Content-Type", "application/json").send("POST", "/v1/pause", Some("{}")).is_problem(401, "token");
    operator.get("/audit").is(403);
    let (viewer, viewers) = up.logged_in("viewer");
    assert!(!viewer.get("/sources").body.contains("action=\"/do/"), "a viewer has no buttons");
    act(&viewer, "pause", format!("word={viewers}&what=source%3Ahere")).is(403);
    act(&viewer, "pause", format!("word={word}&what=source%3Ahere")).is(403);
    let (admin, _) = up.logged_in("admin");
    let audit = admin.get("/audit").is(200).body.clone();
    assert!(audit.contains("source:here") && audit.contains("a-operator"), "{audit}");
    // Who is logged out, or whose token is revoked, is nobody.
    operator.send("POST", "/logout", Some(&format!("word={word}"))).is(303);
    act(&operator, "pause", format!("word={word}")).is(401);
    up.place.adce(&["token", "revoke", "a-admin"]).ends_with(0);
    admin.get("/audit").is(401);
    let form = up.web.with("Content-Type", "application/x-www-form-urlencoded");
    form.send("POST", "/login", Some("token=adce_wrong")).is(401);
}

#[test]
fn who_may_not_look_is_asked_to_log_in_and_comes_back_to_where_he_was() {
    let place = Place::new(&CONFIG.replace("listen: \"127.0.0.1:0\"", "listen: \"127.0.0.1:0\", reads: token"));
    let up = Up { engine: Some(place.start(&["up", "--yes"])), web: Web::of(&place), place };
    let told = up.web.get("/queue?state=held");
    assert_eq!(told.is(303).header("location"), Some("/login?back=%2Fqueue%3Fstate%3Dheld"));
    up.web.get("/login").is(200);
    up.web.get("/static/adce.css").is(200);
    let (viewer, _) = up.logged_in("viewer");
    viewer.get("/queue").is(200);
    viewer.get("/v1/status").is(200);
}

/// Where pictures go that somebody wants to look at: `ADCE_TEST_PICTURES=/tmp/pictures`.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("ADCE_TEST_PICTURES").map(PathBuf::from)
}

#[test]
fn a_browser_sees_gaps_fill_and_acts_and_loses_its_session() {
    let Some(browser) = Browser::start() else { return };
    let up = Up::settled();
    let at = |path: &str| format!("http://{}{path}", up.web.address);
    browser.size(1280, 900);
    browser.go(&at("/"));
    browser.shows("8 of 20 items");
    wait_for("it is live", || browser.script("return document.documentElement.dataset.live") == "on");
    browser.script("window.stays = true");
    up.place.write("lake/other/2023-24/1.txt", "content");
    browser.shows("9 of 20 items");
    assert_eq!(browser.script("return window.stays"), true, "the page was renewed, not loaded again");

    // A cell, its items, one item's story.
    browser.go(&at("/coverage?dataset=other&by=season,number"));
    browser.click("//table[contains(@class, 'heat')]//a[1]");
    browser.shows("other/2023-24/2.txt");
    browser.click("//a[contains(., 'other/2023-24/2.txt')]");
    browser.shows("only watched");

    // An operator tries an exhausted gap again, and pauses a source.
    let token = up.token("anna", "operator");
    browser.click("//a[. = 'Log in']");
    browser.types("//input[@id = 'token']", &token);
    browser.click("//main//button");
    browser.shows("anna (operator)");
    browser.go(&at("/items?dataset=broken"));
    browser.click("//tr[contains(., 'broken/2.txt')]//button");
    wait_for("it was tried again", || up.web.get("/v1/gaps?prefix=broken/2").json()["items"][0]["tries"] == 2);
    browser.go(&at("/sources"));
    browser.click("//section[@aria-label = 'here']//button");
    browser.shows("paused by hand");
    browser.click("//section[@aria-label = 'here']//button");
    wait_for("it goes on", || !browser.text().contains("paused by hand"));

    // The token is revoked: the page says who he is not any more, and does nothing.
    up.place.adce(&["token", "revoke", "anna"]).ends_with(0);
    browser.click("//section[@aria-label = 'here']//button");
    browser.shows("session is over");
    assert_eq!(up.web.get("/v1/status").json()["paused"], serde_json::json!([]));
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|line| line.contains("401")), "{complaints:?}");
}

#[test]
fn every_page_fits_a_phone_and_a_wall_and_can_be_used_by_keyboard_and_ear() {
    let Some(browser) = Browser::start() else { return };
    let up = Up::settled();
    let task = up.web.get("/v1/tasks").json()["items"][0]["id"].as_str().unwrap().to_owned();
    let more = ["/coverage?dataset=other&by=season,number", "/items?dataset=broken", "/item?key=broken/1.txt"].map(String::from);
    let pages: Vec<String> = PAGES.map(String::from).into_iter().chain(more).chain([format!("/task/{task}")]).collect();
    for (width, height, scheme) in [(390, 844, "light"), (1280, 900, "dark"), (2560, 1440, "light")] {
        browser.size(width, height);
        browser.prefers(scheme);
        for page in &pages {
            browser.go(&format!("http://{}{page}", up.web.address));
            let wide = browser.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert!(wide.as_i64().is_some_and(|wide| wide <= 0), "{page} at {width}: {wide} pixels too wide");
            if let Some(folder) = pictures() {
                let name: String = page.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
                browser.picture(&folder.join(format!("{width}{}.png", name.get(..40).unwrap_or(&name))));
            }
        }
    }
    for page in &pages {
        browser.go(&format!("http://{}{page}", up.web.address));
        let wrong = browser.script(CHECKED);
        assert_eq!(wrong, serde_json::json!([]), "{page}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// What a checker of accessibility calls serious, as far as it can be said of these pages: names of what can be used, headings, labels,
/// tables' heads, pictures' texts, landmarks, contrast.
const CHECKED: &str = r#"
const wrong = [];
const say = (what, element) => wrong.push(what + ": " + element.outerHTML.slice(0, 120));
const named = (element) => (element.getAttribute("aria-label") || element.innerText || element.textContent || "").trim();
if (!document.documentElement.lang) wrong.push("no language");
if (!document.title) wrong.push("no title");
if (document.querySelectorAll("main").length !== 1) wrong.push("one main");
if (document.querySelectorAll("h1").length !== 1) wrong.push("one h1");
let level = 0;
for (const heading of document.querySelectorAll("h1,h2,h3,h4")) {
  const own = Number(heading.tagName[1]);
  if (own > level + 1) say("a heading is left out", heading);
  level = own;
}
const ids = new Set();
for (const element of document.querySelectorAll("[id]")) { if (ids.has(element.id)) say("twice the same id", element); ids.add(element.id); }
for (const element of document.querySelectorAll("a,button,summary")) if (!named(element)) say("without a name", element);
for (const element of document.querySelectorAll("input:not([type=hidden]),select")) if (!element.labels.length) say("without a label", element);
for (const element of document.querySelectorAll("img")) if (!element.alt) say("without a text", element);
for (const element of document.querySelectorAll("meter")) if (!element.getAttribute("aria-label")) say("without a name", element);
for (const element of document.querySelectorAll("table th")) if (!element.scope) say("without a scope", element);
for (const element of document.querySelectorAll("[tabindex]")) if (element.tabIndex > 0) say("out of order", element);
for (const element of document.querySelectorAll(".wide")) if (element.tabIndex !== 0) say("cannot be scrolled by keys", element);
const light = (colour) => {
  const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map((part) => { const c = part / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!/rgba\(.*, 0\)|transparent/.test(colour)) return colour;
  }
  return getComputedStyle(document.documentElement).colorScheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(0,0,0)" : "rgb(255,255,255)";
};
for (const element of document.querySelectorAll("p,td,th,a,button,span,small,li,dt,dd,h1,h2,h3,label,summary,pre,code")) {
  if (!element.offsetParent || ![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
  const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
  const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (contrast < 4.5) say("contrast " + contrast.toFixed(2), element);
}
return wrong;
"#;
