//! Expressions beside a naive reading of the same texts.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::spec::names::{ColumnName, Columns, DimensionNames};

fn names() -> Names {
    let column = |name: &str, kind| ColumnName { name: name.into(), kind };
    let columns = vec![
        column("game_id", Kind::Cell),
        column("kind", Kind::Cell),
        column("Home Team", Kind::Cell),
        column("tip", Kind::Time),
        column("length", Kind::Span),
        column("final", Kind::Bool),
        column("season", Kind::Cell),
    ];
    let game = DimensionNames::table("game", "game_id", columns, Columns::Known, vec![TimeZone::UTC]);
    Names::new(vec![game, DimensionNames::list("season"), DimensionNames::calendar("day", TimeZone::UTC)])
}

/// Place and message of each error, with its hint in parentheses.
fn errors(text: &str, role: Role) -> Vec<String> {
    let errors = Expression::parse(text, &names(), role).err().unwrap_or_default();
    let hint = |error: &LanguageError| error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    errors.iter().map(|error| format!("{}+{}: {}{}", error.offset, error.length, error.message, hint(error))).collect()
}

fn error(text: &str, role: Role) -> String {
    let errors = errors(text, role);
    assert_eq!(errors.len(), 1, "`{text}`: {errors:#?}");
    errors[0].clone()
}

#[derive(Default)]
struct Given {
    values: HashMap<&'static str, Value<'static>>,
    now: Option<Timestamp>,
    due: Option<Timestamp>,
    reason: Option<Reason>,
}

impl Scope for Given {
    fn value(&self, _at: usize, var: &Var) -> Value<'_> {
        self.values.get(var.name.as_str()).cloned().unwrap_or(Value::Null)
    }

    fn origin(&self, var: &Var) -> Option<String> {
        (var.name != "season.value").then(|| "games.csv:7".to_string())
    }

    fn now(&self) -> Option<Timestamp> {
        self.now
    }

    fn due(&self) -> Option<Timestamp> {
        self.due
    }

    fn reason(&self) -> Option<Reason> {
        self.reason
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn given(values: &[(&'static str, Value<'static>)]) -> Given {
    let values = values.iter().cloned().collect();
    Given { values, now: Some(at("2024-11-03T12:00:00Z")), due: Some(at("2024-11-01T12:00:00Z")), reason: Some(Reason::Stale) }
}

fn parsed(text: &str, role: Role) -> Expression {
    Expression::parse(text, &names(), role).unwrap_or_else(|errors| panic!("`{text}`: {errors:#?}"))
}

fn holds(text: &str, values: &[(&'static str, Value<'static>)]) -> bool {
    let expression = parsed(text, Role::Priority);
    expression.holds(&given(values)).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

fn fails(text: &str, values: &[(&'static str, Value<'static>)]) -> String {
    parsed(text, Role::Select).eval(&given(values)).unwrap_err().to_string()
}

#[test]
fn every_expression_of_the_handbook_is_understood() {
    for (text, role) in [
        (r#"kind in ["2", "3"]"#, Role::Where),
        ("tip + 2h", Role::Due),
        ("tip + 7d", Role::Due),
        ("now - 1y", Role::Due),
        ("overdue < 7d", Role::Priority),
        ("overdue < 1y and reason == 'missing'", Role::Priority),
        ("`Home Team` == 'Boston Celtics' or not (game.kind is null)", Role::Where),
        ("day.end + 2h", Role::Due),
        ("day >= time(\"2024-10-01\")", Role::Where),
        ("dataset == 'plays' and game_id == '401'", Role::Select),
        ("today - 7d", Role::Bound),
        ("2024-10-01", Role::Bound),
        ("tip + 3h", Role::Column),
    ] {
        assert_eq!(errors(text, role), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn cells_are_read_as_what_they_are_compared_with_and_else_are_text() {
    let cell = |text| [("kind", Value::Cell(text))];
    assert!(holds("kind == 2", &cell("02")) && holds("kind == '02'", &cell("02")) && !holds("kind == '2'", &cell("02")));
    assert!(holds("kind > 9", &cell("10")) && !holds("kind > '9'", &cell("10")), "as text, 10 comes before 9");
    assert!(holds("kind in [1, 2]", &cell("2.0")) && !holds("kind in ['1', '2']", &cell("2.0")));
    assert!(holds("kind == time('2024-10-01T02:00Z')", &cell("2024-10-01T04:00+02:00")));
    assert!(holds("kind + 1 == 3", &cell(" 2 ")));
    assert_eq!(fails("kind == 2", &cell("two")), "games.csv:7: `kind`: `two` cannot be read as a number");
    assert_eq!(fails("kind == 2", &cell("inf")), "games.csv:7: `kind`: `inf` cannot be read as a number");
    let naive = fails("kind > time('2024-10-01')", &cell("2024-10-01"));
    assert!(naive.contains("games.csv:7: `kind`: `2024-10-01` is a time without a zone"), "{naive}");
    assert!(fails("season.value > 2", &[("season.value", Value::Cell("x"))]).starts_with("`season.value`: `x` cannot"));
}

#[test]
fn a_comparison_with_null_is_false_both_ways() {
    assert!(!holds("kind == '2'", &[]) && !holds("kind != '2'", &[]) && !holds("kind in ['2']", &[]));
    assert!(holds("not kind == '2'", &[]) && holds("kind is null", &[]) && !holds("kind is not null", &[]));
    assert!(!holds("tip + 2h < now", &[]) && holds("tip + 2h is null", &[]));
    assert!(!holds("final", &[]), "null is not true");
    let unknown_due = Given { due: None, ..given(&[]) };
    assert!(!parsed("overdue < 7d", Role::Priority).holds(&unknown_due).unwrap());
    assert!(error("kind == null", Role::Where).contains("a comparison with null is never true (write `is null` or `is not null`)"));
}

#[test]
fn times_and_durations_add_up() {
    let tip = [("tip", Value::Time(at("2024-11-02T00:00:00Z"))), ("length", Value::Span(SignedDuration::from_hours(3)))];
    let expression = parsed("tip + length + 30m - 1d", Role::Due);
    assert_eq!(expression.instant(&given(&tip)).unwrap(), Some(at("2024-11-01T03:30:00Z")));
    assert!(holds("tip - time('2024-11-01') == 24h", &tip) && holds("1w + 1d == 8d and 1y == 365d and 1.5h == 90m", &tip));
    assert!(holds("now - tip == 36h and overdue == 2d and today == time('2024-11-03')", &tip));
    assert!(holds("-1d < overdue - 2d + 0s", &tip));
    assert!(holds("reason == 'stale' and reason in ['missing', 'stale']", &tip));
    let far = [("tip", Value::Time(Timestamp::MAX))];
    assert!(fails("tip + 1d > now", &far).contains("beyond all calendars"));
}

#[test]
fn precedence_is_or_and_not_comparison_sum() {
    let set = [("kind", Value::Cell("2")), ("final", Value::Bool(true))];
    assert!(holds("final or kind == 9 and kind == 9", &set));
    assert!(!holds("(final or kind == 9) and kind == 9", &set));
    assert!(holds("not kind == 9 and final", &set));
    assert!(holds("1 + 2 - 3 + 4 == 4", &set));
    assert!(holds("not not final", &set));
}

#[test]
fn what_can_never_make_sense_is_refused_with_what_to_write() {
    assert!(error("kind = 2", Role::Where).contains("`=` is not part of the language (write `==`)"));
    assert!(error("final && kind == 2", Role::Where).contains("(write `and`)"));
    assert!(error("tip > '2024-10-01'", Role::Where).contains("a time and a text cannot be compared (write `time(\"2024-10-01\")`)"));
    assert!(
        error("tip > 2024-10-01", Role::Where).contains("`2024-10-01` would be a subtraction of numbers (write `time(\"2024-10-01\")`")
    );
    assert!(error("overdue < 7", Role::Priority).contains("give the number a unit"));
    assert!(error("kind > 1 > 2", Role::Where).contains("comparisons are not chained"));
    assert!(error("kind not in ['1']", Role::Where).contains("write `not x in […]`"));
    assert!(error("kind in '1'", Role::Where).starts_with("8+3: expected `[` behind `in`"));
    assert!(error("kind in []", Role::Where).contains("an empty list"));
    assert!(error("kind is 2", Role::Where).contains("expected `null` or `not null` behind `is`"));
    assert!(error("'abc", Role::Where).contains("a ' that is never closed"));
    assert!(error("", Role::Where).contains("expected a value, but the expression ends"));
    assert!(error("kind ==", Role::Where).starts_with("7+1: expected a value, but the expression ends"));
    assert!(error("(kind == 2", Role::Where).contains("expected `)`"));
    assert!(error("kind == 2 3", Role::Where).contains("expected `and`, `or`, an operator or the end"));
    assert!(error("tip + 3mo > tip", Role::Where).contains("a month has no fixed length"));
    assert!(error("tip + 99999999999999999y > tip", Role::Where).contains("is too long"));
    assert!(error("kind", Role::Where).contains("`where` must be true or false, and this is a text of a table or list (compare it:"));
    assert!(error("2h", Role::Due).contains("must be a time, and this is a duration (add it to a time:"));
    assert!(error("tip + tip > tip", Role::Where).contains("a time and a time cannot be added"));
    assert!(error("final < final", Role::Where).contains("true and false have no order"));
    assert!(error("kind == 2 and tip", Role::Where).contains("expected a comparison, and this is a time"));
    assert!(error("reason == 'mising'", Role::Priority).contains("`mising` is no reason (did you mean `missing`?)"));
    assert!(error("kind == 2 # x", Role::Where).contains("`#` is not part of the language"));
    assert!(error("now - 1y < tip", Role::Where).contains("`now` cannot be used in `where`"));
    assert!(error("overdue < 1d", Role::Where).contains("`overdue` cannot be used in `where`"));
    assert!(error("time('2024-13-01') < tip", Role::Where).contains("`2024-13-01` is no time"));
    assert!(error("time('2024-10-01T00:00Z')", Role::Bound).contains("has an offset (leave the offset out"));
    assert!(!errors("2024-10-01T00:00Z", Role::Bound).is_empty());
}

#[test]
fn a_name_with_two_meanings_must_be_qualified() {
    let told = error("season == '2024'", Role::Where);
    assert_eq!(told, "0+6: `season` is both a dimension and a column (write `season.value` or `game.season`)");
    assert!(errors("season.value == '1' and game.season == '2'", Role::Where).is_empty());
    assert_eq!(error("knd == 2", Role::Where), "0+3: nothing here is called `knd` (did you mean `kind`?)");
    assert!(error("game.knd == 2", Role::Where).contains("`game` has no column `knd` (did you mean `game.kind`?)"));
}

#[test]
fn all_errors_are_told_in_one_run() {
    let told = errors("knd == 2 and tip > '2024-10-01' and now > tip and final < final", Role::Where);
    assert_eq!(told.len(), 4, "{told:#?}");
    assert_eq!(errors("kind # 2 ? 3", Role::Where).len(), 2);
}

#[test]
fn names_of_unread_tables_are_let_through_until_they_are_read() {
    let unread = DimensionNames::table("game", "game_id", Vec::new(), Columns::MayHaveMore, Vec::new());
    let expression = Expression::parse("knd == '2'", &Names::new(vec![unread]), Role::Where).unwrap();
    assert_eq!(expression.check(&names()).len(), 1);
}

#[test]
fn a_naive_time_needs_exactly_one_zone() {
    let calendar = |name: &str, zone: &str| DimensionNames::calendar(name, TimeZone::get(zone).unwrap());
    let parse = |dimensions, text: &str| Expression::parse(text, &Names::new(dimensions), Role::Due);
    let time = parse(vec![calendar("day", "America/New_York")], "time('2024-10-01')").unwrap();
    assert_eq!(time.instant(&given(&[])).unwrap(), Some(at("2024-10-01T04:00:00Z")));
    let two = vec![calendar("day", "America/New_York"), calendar("hour", "UTC")];
    let told = &parse(two.clone(), "time('2024-10-01')").unwrap_err()[0];
    assert!(told.message.contains("needs a zone") && told.hint.as_ref().unwrap().contains("`2024-10-01T00:00Z` is UTC"), "{told:?}");
    assert!(parse(two.clone(), "time('2024-10-01T00:00Z')").is_ok() && parse(two.clone(), "today").is_err());
    assert!(parse(two, "time('2024-10-01T00:00[Europe/Berlin]')").is_ok());
}

#[test]
fn deep_nesting_is_refused_and_long_chains_are_not() {
    let deep = format!("{}final{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(error(&deep, Role::Where).contains("fewer parentheses"));
    let long = vec!["kind == 2"; 20_000].join(" or ");
    assert!(errors(&long, Role::Where).is_empty());
}

// ---------------------------------------------------------------------------------------------------------- property

/// An expression of the tests' own, that knows how to print itself and what it means.
#[derive(Clone, Debug)]
enum Tree {
    Truth(bool),
    Final,
    Numbers(&'static str, Number, Number),
    Texts(&'static str, Text, Text),
    Times(&'static str, Time, Time),
    Spans(&'static str, Span, Span),
    In(Number, Vec<Number>),
    IsNull(Number, bool),
    Not(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
}

/// `Cell` stands for `kind`.
#[derive(Clone, Debug)]
enum Number {
    Is(i32),
    Cell,
    Add(Box<Number>, i32),
    Subtract(Box<Number>, i32),
}

#[derive(Clone, Debug)]
enum Text {
    Is(String),
    Cell,
}

#[derive(Clone, Debug)]
enum Time {
    Now,
    Tip,
    Plus(Box<Time>, i64),
    Minus(Box<Time>, i64),
}

#[derive(Clone, Debug)]
enum Span {
    Is(i64),
    Length,
    Between(Time, Time),
}

const OPERATORS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

fn number() -> impl Strategy<Value = Number> {
    let leaf = prop_oneof![(-3..12_i32).prop_map(Number::Is), Just(Number::Cell)];
    leaf.prop_recursive(2, 4, 1, |inner| {
        prop_oneof![
            (inner.clone(), 0..5_i32).prop_map(|(number, by)| Number::Add(Box::new(number), by)),
            (inner, 0..5_i32).prop_map(|(number, by)| Number::Subtract(Box::new(number), by)),
        ]
    })
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![Just(Time::Now), Just(Time::Tip)].prop_recursive(3, 4, 1, |inner| {
        prop_oneof![
            (inner.clone(), 0..100_000_i64).prop_map(|(time, by)| Time::Plus(Box::new(time), by)),
            (inner, 0..100_000_i64).prop_map(|(time, by)| Time::Minus(Box::new(time), by)),
        ]
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    let text = || prop_oneof!["[0-9a]{0,2}".prop_map(Text::Is), Just(Text::Cell)];
    let span =
        || prop_oneof![(0..200_000_i64).prop_map(Span::Is), Just(Span::Length), (time(), time()).prop_map(|(a, b)| Span::Between(a, b))];
    let operator = || prop::sample::select(&OPERATORS);
    let leaf = prop_oneof![
        any::<bool>().prop_map(Tree::Truth),
        Just(Tree::Final),
        (operator(), number(), number()).prop_map(|(how, a, b)| Tree::Numbers(how, a, b)),
        (operator(), text(), text()).prop_map(|(how, a, b)| Tree::Texts(how, a, b)),
        (operator(), time(), time()).prop_map(|(how, a, b)| Tree::Times(how, a, b)),
        (operator(), span(), span()).prop_map(|(how, a, b)| Tree::Spans(how, a, b)),
        (number(), prop::collection::vec(number(), 1..3)).prop_map(|(number, list)| Tree::In(number, list)),
        (number(), any::<bool>()).prop_map(|(number, is)| Tree::IsNull(number, is)),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|tree| Tree::Not(Box::new(tree))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Tree::Or(Box::new(a), Box::new(b))),
        ]
    })
}

/// Parentheses only where the text would mean something else without them.
fn print(tree: &Tree, within: u8) -> String {
    let (strength, text) = match tree {
        Tree::Truth(truth) => (3, format!("1 == {}", if *truth { 1 } else { 2 })),
        Tree::Final => (3, "final".into()),
        Tree::Numbers(how, a, b) => (3, format!("{} {how} {}", print_number(a), print_number(b))),
        Tree::Texts(how, a, b) => (3, format!("{}{how}{}", print_text(a, '\''), print_text(b, '"'))),
        Tree::Times(how, a, b) => (3, format!("{} {how} {}", print_time(a), print_time(b))),
        Tree::Spans(how, a, b) => (3, format!("{} {how} {}", print_span(a), print_span(b))),
        Tree::In(number, list) => {
            (3, format!("{} in [{}]", print_number(number), list.iter().map(print_number).collect::<Vec<_>>().join(", ")))
        }
        Tree::IsNull(number, true) => (3, format!("{} is null", print_number(number))),
        Tree::IsNull(number, false) => (3, format!("{} is  not null", print_number(number))),
        Tree::Not(inner) => (2, format!("not {}", print(inner, 2))),
        Tree::And(a, b) => (1, format!("{} and {}", print(a, 1), print(b, 1))),
        Tree::Or(a, b) => (0, format!("{} or {}", print(a, 0), print(b, 0))),
    };
    if strength < within { format!("({text})") } else { text }
}

fn print_number(number: &Number) -> String {
    match number {
        Number::Is(number) => number.to_string(),
        // Alone it would be compared as text with another cell.
        Number::Cell => "kind + 0".into(),
        Number::Add(number, by) => format!("{} + {by}", print_number(number)),
        Number::Subtract(number, by) => format!("{}-{by}", print_number(number)),
    }
}

fn print_text(text: &Text, quote: char) -> String {
    match text {
        Text::Is(text) => format!("{quote}{text}{quote}"),
        Text::Cell => "`kind`".into(),
    }
}

fn print_time(time: &Time) -> String {
    match time {
        Time::Now => "now".into(),
        Time::Tip => "game.tip".into(),
        Time::Plus(time, by) => format!("{} + {by}s", print_time(time)),
        Time::Minus(time, by) => format!("{} - {by}s", print_time(time)),
    }
}

fn print_span(span: &Span) -> String {
    match span {
        Span::Is(seconds) => format!("{seconds}s"),
        Span::Length => "length".into(),
        Span::Between(a, b @ (Time::Now | Time::Tip)) => format!("({}) - {}", print_time(a), print_time(b)),
        Span::Between(a, b) => format!("({}) - ({})", print_time(a), print_time(b)),
    }
}

/// What `kind`, `tip`, `length` and `final` are; none of it is null or all of it.
#[derive(Clone, Copy, Debug)]
struct Row {
    kind: Option<i32>,
    tip_s: Option<i64>,
    length_s: Option<i64>,
    is_final: Option<bool>,
}

const NOW_S: i64 = 1_730_635_200;

fn compared<T: PartialOrd>(how: &str, a: Option<T>, b: Option<T>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return false };
    match how {
        "==" => a == b,
        "!=" => a != b,
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        _ => a >= b,
    }
}

impl Row {
    fn number(&self, number: &Number) -> Option<i32> {
        match number {
            Number::Is(number) => Some(*number),
            Number::Cell => self.kind,
            Number::Add(number, by) => self.number(number).map(|number| number + by),
            Number::Subtract(number, by) => self.number(number).map(|number| number - by),
        }
    }

    fn text(&self, text: &Text) -> Option<String> {
        match text {
            Text::Is(text) => Some(text.clone()),
            Text::Cell => self.kind.map(|kind| kind.to_string()),
        }
    }

    fn time(&self, time: &Time) -> Option<i64> {
        match time {
            Time::Now => Some(NOW_S),
            Time::Tip => self.tip_s,
            Time::Plus(time, by) => self.time(time).map(|time| time + by),
            Time::Minus(time, by) => self.time(time).map(|time| time - by),
        }
    }

    fn span(&self, span: &Span) -> Option<i64> {
        match span {
            Span::Is(seconds) => Some(*seconds),
            Span::Length => self.length_s,
            Span::Between(a, b) => Some(self.time(a)? - self.time(b)?),
        }
    }

    fn truth(&self, tree: &Tree) -> bool {
        match tree {
            Tree::Truth(truth) => *truth,
            Tree::Final => self.is_final.unwrap_or(false),
            Tree::Numbers(how, a, b) => compared(how, self.number(a), self.number(b)),
            Tree::Texts(how, a, b) => compared(how, self.text(a), self.text(b)),
            Tree::Times(how, a, b) => compared(how, self.time(a), self.time(b)),
            Tree::Spans(how, a, b) => compared(how, self.span(a), self.span(b)),
            Tree::In(number, list) => list.iter().any(|other| compared("==", self.number(number), self.number(other))),
            Tree::IsNull(number, is) => self.number(number).is_none() == *is,
            Tree::Not(tree) => !self.truth(tree),
            Tree::And(a, b) => self.truth(a) & self.truth(b),
            Tree::Or(a, b) => self.truth(a) | self.truth(b),
        }
    }
}

fn row() -> impl Strategy<Value = Row> {
    let some = prop::option::weighted::<std::ops::Range<i32>>;
    (some(0.8, -2..12), some(0.8, -200_000..200_000), some(0.8, 0..200_000), prop::option::weighted(0.8, any::<bool>())).prop_map(
        |(kind, tip, length, is_final)| Row {
            kind,
            tip_s: tip.map(|tip| NOW_S + i64::from(tip)),
            length_s: length.map(i64::from),
            is_final,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn evaluation_agrees_with_a_naive_reading(tree in tree(), rows in prop::collection::vec(row(), 4)) {
        let text = print(&tree, 0);
        let expression = Expression::parse(&text, &names(), Role::Priority);
        let expression = expression.map_err(|errors| TestCaseError::fail(format!("`{text}`: {errors:#?}")))?;
        for row in rows {
            let kind = row.kind.map(|kind| kind.to_string());
            let mut values = HashMap::new();
            values.insert("game.tip", row.tip_s.map_or(Value::Null, |tip| Value::Time(Timestamp::from_second(tip).unwrap())));
            values.insert("length", row.length_s.map_or(Value::Null, |span| Value::Span(SignedDuration::from_secs(span))));
            values.insert("final", row.is_final.map_or(Value::Null, Value::Bool));
            values.insert("kind", kind.map_or(Value::Null, |kind| Value::Cell(String::leak(kind))));
            let scope = Given { values, now: Some(Timestamp::from_second(NOW_S).unwrap()), due: None, reason: None };
            let truth = expression.holds(&scope).map_err(|error| TestCaseError::fail(format!("`{text}`: {error}")))?;
            prop_assert_eq!(truth, row.truth(&tree), "`{}` for {:?}", text, row);
        }
    }

    #[test]
    fn no_text_makes_the_reader_fall_over(text in "[a-z`'\"(){}\\[\\] 0-9+<>=!.,éh-]{0,24}") {
        for role in [Role::Where, Role::Due, Role::Priority, Role::Bound, Role::Column, Role::Select] {
            if let Err(errors) = Expression::parse(&text, &names(), role) {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.iter().all(|error| error.length > 0 && error.offset <= text.len() && text.is_char_boundary(error.offset)));
            }
        }
    }
}
