//! A real Chromium without a screen, driven by the protocol of WebDriver, which is HTTP.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::place::wait_for;
use super::tools;
use super::web::Web;

pub struct Browser {
    driver: Child,
    web: Web,
    session: String,
    _profile: tempfile::TempDir,
}

/// As the protocol names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Browser {
    /// `None`: there is none here, and may be none.
    pub fn start() -> Option<Browser> {
        let (driver, chromium) = (tools::installed("chromedriver")?, tools::installed("chromium")?);
        let profile = tempfile::tempdir().expect("a profile");
        let mut driver =
            Command::new(driver).arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("chromedriver starts");
        let told = BufReader::new(driver.stdout.take().expect("its output"));
        let port = told
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ChromeDriver was started successfully on port ").map(String::from));
        let port = port.expect("a port");
        let web = Web::at(format!("127.0.0.1:{}", port.trim_end_matches('.')));
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"].map(String::from);
        let arguments: Vec<String> = arguments.into_iter().chain([format!("--user-data-dir={}", profile.path().display())]).collect();
        let options = json!({ "binary": chromium, "args": arguments });
        let asked =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } } } });
        let session = web.post("/session", &asked.to_string()).is(200).json()["value"]["sessionId"].as_str().expect("a session").to_owned();
        Some(Browser { driver, web, session, _profile: profile })
    }

    #[track_caller]
    fn ask(&self, what: &str, body: &Value) -> Value {
        self.web.post(&format!("/session/{}/{what}", self.session), &body.to_string()).is(200).json()["value"].clone()
    }

    #[track_caller]
    pub fn go(&self, url: &str) {
        self.ask("url", &json!({ "url": url }));
    }

    #[track_caller]
    pub fn size(&self, width: u32, height: u32) {
        self.ask("window/rect", &json!({ "width": width, "height": height }));
        // A window has a smallest width; a page has not.
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("goog/cdp/execute", &json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics }));
    }

    /// `dark` or `light`.
    pub fn prefers(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("goog/cdp/execute", &json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } }));
    }

    /// What the script returns.
    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        self.ask("execute/sync", &json!({ "script": script, "args": [] }))
    }

    #[track_caller]
    pub fn text(&self) -> String {
        self.script("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn shows(&self, text: &str) {
        wait_for(text, || self.text().contains(text));
    }

    #[track_caller]
    fn element(&self, xpath: &str) -> String {
        let found = self.ask("element", &json!({ "using": "xpath", "value": xpath }));
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("nothing is at {xpath}")).to_owned()
    }

    #[track_caller]
    pub fn click(&self, xpath: &str) {
        let element = self.element(xpath);
        self.ask(&format!("element/{element}/click"), &json!({}));
    }

    #[track_caller]
    pub fn types(&self, xpath: &str, text: &str) {
        let element = self.element(xpath);
        self.ask(&format!("element/{element}/value"), &json!({ "text": text }));
    }

    /// What its console said that is no mere note.
    pub fn complaints(&self) -> Vec<String> {
        let lines = self.ask("se/log", &json!({ "type": "browser" }));
        let lines = lines.as_array().cloned().unwrap_or_default();
        lines.iter().filter(|line| line["level"] != "INFO" && line["level"] != "DEBUG").map(|line| line["message"].to_string()).collect()
    }

    /// A PNG of the whole page, for people.
    pub fn picture(&self, to: &std::path::Path) {
        let taken = self.ask("goog/cdp/execute", &json!({ "cmd": "Page.captureScreenshot", "params": { "captureBeyondViewport": true } }));
        std::fs::write(to, BASE64_STANDARD.decode(taken["data"].as_str().unwrap_or_default()).expect("a picture")).expect("a file");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.web.send("DELETE", &format!("/session/{}", self.session), None);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
