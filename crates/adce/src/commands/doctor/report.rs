//! What was seen of a command, what that means, and how a person is told.

use std::time::{Duration, Instant};

use adce_api::{DoctorReport, DoctorRun, ProtocolReport, Verdict};
use adce_core::figures::counted;
use console::style;
use indexmap::IndexMap;

use super::Waits;
use super::advice::{Trouble, runtime};
use super::desk::{Desk, LIMIT};
use super::upstream::{Protocol, Seen};

#[derive(Default)]
pub struct Findings {
    pub runs: Vec<DoctorRun>,
    /// TLS handshakes with the gateway that were broken off.
    pub distrusted: u64,
    waits: Waits,
}

impl Findings {
    /// After each run: how long its first request was kept. `first`: when the first one of a protocol arrived.
    pub fn note_wait(&mut self, desk: &Desk, first: impl Fn(Protocol) -> Option<Instant>) {
        let Some(asked) = desk.first_asked() else { return };
        let arrived = Protocol::BOTH.into_iter().filter_map(|protocol| Some((first(protocol).filter(|at| *at >= asked)?, protocol)));
        if let Some((at, protocol)) = arrived.min() {
            self.waits.entry(protocol).or_insert(at - asked);
        }
    }

    /// `both`: the command was run with an address of each protocol, so each has to be seen.
    pub fn report(&self, argv: &[String], both: bool, seen: impl Fn(Protocol) -> Seen) -> DoctorReport {
        let all = Protocol::BOTH.map(|protocol| (protocol, seen(protocol)));
        let is_silent = |protocol: Protocol, seen: &Seen| {
            seen.requests == 0 && seen.past_connections == 0 && (protocol == Protocol::Http || self.distrusted == 0)
        };
        let nothing_at_all = all.iter().all(|(protocol, seen)| is_silent(*protocol, seen));
        let protocols: IndexMap<String, ProtocolReport> = all
            .iter()
            .map(|(protocol, seen)| {
                let distrusted = if *protocol == Protocol::Https { self.distrusted } else { 0 };
                let wait = self.waits.get(protocol).copied();
                let verdict = verdict(seen, distrusted, wait, both || nothing_at_all);
                (protocol.word().to_owned(), protocol_report(verdict, seen, distrusted, wait, argv))
            })
            .collect();
        let is_well = |protocol: &ProtocolReport| matches!(protocol.verdict, Verdict::Paced | Verdict::NotUsed);
        DoctorReport { paced: protocols.values().all(is_well), command: argv.to_vec(), runs: self.runs.clone(), protocols }
    }
}

/// `is_due`: if nothing came, something should have.
fn verdict(seen: &Seen, distrusted: u64, wait: Option<Duration>, is_due: bool) -> Verdict {
    match seen {
        Seen { past_connections: 1.., .. } => Verdict::Bypassed,
        _ if distrusted > 0 => Verdict::NotTrusted,
        Seen { requests: 0, .. } if is_due => Verdict::NothingSeen,
        Seen { requests: 0, .. } => Verdict::NotUsed,
        // The window was full for its whole span when the first request asked.
        Seen { exceeded: 1.., .. } => Verdict::TooFast,
        _ if wait.is_some_and(|wait| wait < LIMIT.span) => Verdict::TooFast,
        _ => Verdict::Paced,
    }
}

fn protocol_report(verdict: Verdict, seen: &Seen, distrusted: u64, wait: Option<Duration>, argv: &[String]) -> ProtocolReport {
    let trouble = match verdict {
        Verdict::Bypassed | Verdict::NothingSeen => Some(Trouble::NoProxy),
        Verdict::NotTrusted => Some(Trouble::NoTrust),
        Verdict::Paced | Verdict::TooFast | Verdict::NotUsed => None,
    };
    // Who came past the gateway is whom it is about.
    let clients = if seen.past_clients.is_empty() { &seen.clients } else { &seen.past_clients };
    let told = trouble.map(|trouble| (runtime(clients, argv), trouble));
    ProtocolReport {
        verdict,
        requests: seen.requests,
        first_waited_seconds: wait.map(|wait| wait.as_secs_f64()),
        fullest: seen.fullest,
        limit: LIMIT.requests,
        window_seconds: LIMIT.span.as_secs_f64(),
        handshakes_broken_off: distrusted,
        connections_past_the_gateway: seen.past_connections,
        requests_past_the_gateway: seen.past,
        clients: seen.clients.union(&seen.past_clients).cloned().collect(),
        runtime: told.map(|(runtime, _)| runtime.name.to_owned()),
        advice: told.map(|(runtime, trouble)| runtime.advice(trouble).to_owned()),
    }
}

/// Of this terminal; what is not read on one is folded all the same.
pub fn width() -> usize {
    const ELSEWHERE: usize = 100;
    let term = console::Term::stdout();
    if term.is_term() { usize::from(term.size().1).clamp(40, 120) } else { ELSEWHERE }
}

/// Protocol, verdict, and what stands under them.
const INDENT: usize = 20;

/// No line is wider than `width`.
pub fn lines(report: &DoctorReport, command: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, (name, protocol)) in report.protocols.iter().enumerate() {
        let (word, is_well) = word(protocol.verdict);
        let padded = format!("{word:12}");
        let shown = if is_well { style(padded).green() } else { style(padded).red().bold() };
        let mut texts = vec![what_was_seen(protocol)];
        if let (Some(runtime), Some(advice)) = (&protocol.runtime, &protocol.advice) {
            let said_before = report.protocols.values().take(at).any(|other| other.advice.as_ref() == Some(advice));
            texts.push(if said_before { format!("→ {runtime}: the same") } else { format!("→ {runtime}: {advice}") });
        }
        let folded = texts.iter().flat_map(|text| folded(text, width.saturating_sub(INDENT)));
        for (at, text) in folded.enumerate() {
            lines.push(if at == 0 { format!("{name:6}  {shown}{text}") } else { format!("{:INDENT$}{text}", "") });
        }
    }
    if report.protocols.values().any(|protocol| protocol.verdict == Verdict::Bypassed) {
        let closed = "where it cannot be told to use the gateway, `egress: gateway` on its collector (Linux) leaves it no way past it: what ignores \
                      the gateway fails, and is never uncounted";
        lines.extend(folded(closed, width));
    }
    for run in report.runs.iter().filter(|run| run.timed_out || run.exit_code != 0) {
        let how = if run.timed_out { "was ended because it took too long".into() } else { format!("ended with {}", run.exit_code) };
        lines.extend(folded(&format!("with {} the command {how}", run.url), width));
    }
    let (word, rest) = match report.paced {
        true => (style("PACED").green().bold(), format!("each request of `{command}` waits until the limits have room")),
        false => (style("NOT PACED").red().bold(), format!("not all that `{command}` asks comes through the gateway (docs/gateway.md)")),
    };
    let plain = if report.paced { "PACED" } else { "NOT PACED" };
    let mut verdict = folded(&format!("{plain}: {rest}"), width);
    verdict[0] = verdict[0].replacen(plain, &word.to_string(), 1);
    lines.extend(verdict);
    lines
}

/// And whether all is well.
fn word(verdict: Verdict) -> (&'static str, bool) {
    match verdict {
        Verdict::Paced => ("paced", true),
        Verdict::TooFast => ("TOO FAST", false),
        Verdict::Bypassed => ("BYPASSED", false),
        Verdict::NotTrusted => ("NOT TRUSTED", false),
        Verdict::NothingSeen => ("NOT SEEN", false),
        Verdict::NotUsed => ("not used", true),
    }
}

fn what_was_seen(protocol: &ProtocolReport) -> String {
    let seen = format!("{} through the gateway", counted(protocol.requests, "request"));
    let fullest = format!("at most {} of {} a second", protocol.fullest, protocol.limit);
    let waited = protocol.first_waited_seconds.map(|waited| format!("; the first waited {waited:.1} s for its turn")).unwrap_or_default();
    match protocol.verdict {
        Verdict::Paced => format!("{seen}{waited}, {fullest}"),
        Verdict::TooFast => format!("{seen}{waited}, {fullest}: that is a bug of adce"),
        Verdict::Bypassed => format!(
            "{} and {} reached the upstream without the gateway; {seen}",
            counted(protocol.connections_past_the_gateway, "connection"),
            counted(protocol.requests_past_the_gateway, "request")
        ),
        Verdict::NotTrusted => {
            format!(
                "{} with the gateway broken off: adce's certificate is not trusted; {seen}",
                counted(protocol.handshakes_broken_off, "TLS handshake")
            )
        }
        Verdict::NothingSeen => "nothing came, neither through the gateway nor past it".into(),
        Verdict::NotUsed => "nothing was asked".into(),
    }
}

/// In lines of at most `width`, broken between words.
fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one");
        let wanted = console::measure_text_width(line) + usize::from(!line.is_empty()) + console::measure_text_width(word);
        if wanted > width && !line.is_empty() {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITED: Option<Duration> = Some(Duration::from_millis(1_004));

    #[test]
    fn only_what_came_through_and_waited_is_paced() {
        let through = Seen { requests: 3, fullest: 3, ..Seen::default() };
        let past = Seen { past_connections: 1, ..Seen::default() };
        assert_eq!(verdict(&through, 0, WAITED, true), Verdict::Paced);
        assert_eq!(verdict(&through, 0, None, true), Verdict::Paced, "another protocol was the first to ask");
        assert_eq!(verdict(&through, 0, Some(Duration::from_millis(900)), true), Verdict::TooFast);
        assert_eq!(verdict(&Seen { exceeded: 1, ..through.clone() }, 0, WAITED, true), Verdict::TooFast);
        assert_eq!(verdict(&Seen { past_connections: 1, ..through.clone() }, 0, WAITED, true), Verdict::Bypassed, "one in four");
        assert_eq!(verdict(&through, 1, WAITED, true), Verdict::NotTrusted, "one of two clients");
        assert_eq!(verdict(&past, 0, None, true), Verdict::Bypassed, "a TLS handshake is enough");
        assert_eq!(verdict(&Seen::default(), 2, None, true), Verdict::NotTrusted);
        assert_eq!(verdict(&Seen::default(), 0, None, true), Verdict::NothingSeen);
        assert_eq!(verdict(&Seen::default(), 0, None, false), Verdict::NotUsed);
    }

    fn report(both: bool, distrusted: u64, seen: impl Fn(Protocol) -> Seen) -> DoctorReport {
        let findings = Findings { distrusted, waits: Waits::from([(Protocol::Http, Duration::from_millis(1_004))]), ..Findings::default() };
        findings.report(&["python3".to_owned(), "scraper.py".to_owned()], both, seen)
    }

    fn over_http(protocol: Protocol) -> Seen {
        let requests = u64::from(protocol == Protocol::Http) * 3;
        Seen { requests, fullest: requests, ..Seen::default() }
    }

    #[test]
    fn a_protocol_that_was_not_asked_for_need_not_be_seen_and_one_that_was_must() {
        assert!(report(false, 0, over_http).paced);
        assert!(!report(true, 0, over_http).paced);
        assert!(!report(false, 1, over_http).paced, "it tried https, and broke it off");
        assert!(!report(false, 0, |_| Seen::default()).paced, "nothing at all");
    }

    #[test]
    fn the_report_fits_the_terminal() {
        let report = report(true, 2, over_http);
        for width in [60, 80, 120] {
            let lines = lines(&report, "python3 scraper.py {url}", width);
            assert!(lines.iter().all(|line| console::measure_text_width(line) <= width), "{lines:#?}");
        }
        let lines: Vec<String> =
            lines(&report, "python3 scraper.py {url}", 80).iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect();
        assert_eq!(
            lines[..3],
            [
                "http    paced       3 requests through the gateway; the first waited 1.0 s for",
                "                    its turn, at most 3 of 5 a second",
                "https   NOT TRUSTED 2 TLS handshakes with the gateway broken off: adce's",
            ]
        );
        assert!(lines.iter().any(|line| line.trim_start().starts_with("→ Python")), "{lines:#?}");
        assert!(lines.concat().ends_with("(docs/gateway.md)"), "{lines:#?}");
    }
}
