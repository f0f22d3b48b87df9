//! Templates: what they write, what they refuse, and whom the message names.

use super::*;
use crate::spec::names::{ColumnName, Columns, DimensionNames};
use jiff::tz::TimeZone;

fn names() -> Names {
    let column = |name: &str, kind| ColumnName { name: name.into(), kind };
    let columns =
        vec![column("game_id", Kind::Cell), column("Home Team", Kind::Cell), column("tip", Kind::Time), column("long", Kind::Bool)];
    let game = DimensionNames::table("game", "game_id", columns, Columns::Known, vec![TimeZone::UTC]);
    Names::new(vec![game, DimensionNames::list("season"), DimensionNames::calendar("day", TimeZone::UTC)])
}

fn wrong(text: &str, purpose: Purpose) -> String {
    let errors = match Template::parse(text, purpose) {
        Ok(template) => template.check(&names()),
        Err(errors) => errors,
    };
    let shown = errors.iter().map(|error| {
        let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}+{}: {}{hint}", error.offset, error.length, error.message)
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn values(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
}

#[test]
fn every_template_of_the_handbook_is_understood() {
    for key in
        ["espn/play_by_play/{season}/{game_id}.json", "{day:%Y%m%d}/{game.game_id}", "h/{day:%Y/%m/%d}/{day:%-H}.gz", "{Home Team}/x"]
    {
        assert_eq!(wrong(key, Purpose::Key), "", "{key}");
    }
    assert_eq!(wrong("--game-ids={game_id}", Purpose::Argv), "");
    assert_eq!(wrong("{out}", Purpose::Argv), "");
    assert_eq!(wrong("a{{b}}c/{game}", Purpose::Key), "");
}

#[test]
fn errors_say_where_and_what_to_write() {
    assert_eq!(wrong("a/{game_if}.json", Purpose::Key), "2+9: nothing here is called `game_if` (did you mean `game_id`?)");
    assert_eq!(wrong("a/{game_id", Purpose::Key), "2+1: a `{` that is never closed (for a literal brace write `{{`)");
    assert_eq!(wrong("a}/b", Purpose::Key), "1+1: a `}` without its `{` (for a literal brace write `}}`)");
    assert!(wrong("{out}/x", Purpose::Key).contains("nothing here is called `out`"));
    assert!(wrong("{season}{game_id}", Purpose::Key).starts_with("0+17: nothing stands between `{season}` and `{game_id}`"));
    assert!(wrong("a/../{game_id}", Purpose::Key).starts_with("2+2: `..` is no name"));
    assert!(wrong("{game_id:%Y}/x", Purpose::Key).contains("`game_id` is no time"));
    assert!(wrong("{day:%J}/x", Purpose::Key).contains("`%J` is no date format"));
    assert!(wrong("{day:YYYY}/x", Purpose::Key).contains("has no `%`"));
    assert!(wrong("{long}/x", Purpose::Key).contains("which has no text"));
    assert!(wrong(r#"{"a": 1}"#, Purpose::Argv).contains("for a literal brace write `{{`"));
    assert_eq!(wrong("", Purpose::Key).lines().count(), 1);
    let both = wrong("{game_if}/{seasn}", Purpose::Key);
    assert_eq!(both.lines().count(), 2, "all errors at once: {both}");
}

#[test]
fn a_doubled_brace_is_a_brace_in_the_prefix_and_in_the_text() {
    let template = Template::parse("a{{b}}/{season}", Purpose::Key).unwrap();
    assert_eq!(template.literal_prefix(), "a{b}/");
    assert_eq!(template.fill(&values(&[("season", "2024")])).unwrap(), "a{b}/2024");
}

#[test]
fn no_value_leaves_its_segment() {
    let template = Template::parse("a/{season}/x", Purpose::Key).unwrap();
    let fill = |text: &str| template.fill(&values(&[("season", text)]));
    assert!(fill("../etc").unwrap_err().message.contains("`/` would make two segments"));
    assert!(fill("a\nb").unwrap_err().message.contains("control character"));
    assert!(fill("").unwrap_err().message.contains("null"));
    assert_eq!(fill("a b+~#%é").unwrap(), "a/a b+~#%é/x", "everything else is verbatim");
    assert!(check_whole_key("a/../x").is_err() && check_whole_key("a/./x").is_err() && check_whole_key("./a").is_err());
    assert!(check_whole_key("a/...x/.hidden").is_ok());
    assert!(check_whole_key(&"é".repeat(512)).is_ok() && check_whole_key(&format!("{}a", "é".repeat(512))).is_err());
}

#[test]
fn values_are_encoded_in_urls_and_verbatim_in_argv() {
    let url = Template::parse("https://x.org/{Home Team}?day={day:%Y/%m/%d}&at={day:%H:%M%z}", Purpose::Url).unwrap();
    let item = values(&[("Home Team", "76ers & co/ä"), ("day", "2024-10-01")]);
    assert_eq!(url.fill(&item).unwrap(), "https://x.org/76ers%20%26%20co%2F%C3%A4?day=2024/10/01&at=00:00%2B0000");
    assert!(url.fill(&values(&[("Home Team", ""), ("day", "2024-10-01")])).is_err(), "null in a url is an error");
    assert!(url.fill(&values(&[("Home Team", ".."), ("day", "2024-10-01")])).is_err(), "clients would drop a folder for it");
    let argv = Template::parse("{Home Team}", Purpose::Argv).unwrap();
    assert_eq!(argv.fill(&item).unwrap(), "76ers & co/ä");
    assert_eq!(argv.fill(&values(&[("Home Team", "")])).unwrap(), "");
}

#[test]
fn a_batch_lists_distinct_values_in_item_order_and_no_commas() {
    let template = Template::parse("--ids={game_id}", Purpose::Argv).unwrap();
    let item = |id: &str| values(&[("game_id", id)]);
    let items = [item("402"), item("401"), item("402")];
    let items: Vec<&[(String, String)]> = items.iter().map(Vec::as_slice).collect();
    assert_eq!(template.fill_many(&items, None).unwrap(), "--ids=402,401");
    let with_comma = [item("402"), item("4,1")];
    let with_comma: Vec<&[(String, String)]> = with_comma.iter().map(Vec::as_slice).collect();
    assert!(template.fill_many(&with_comma, None).unwrap_err().message.contains("ADCE_ITEMS"));
    assert_eq!(template.fill_many(&with_comma[1..], None).unwrap(), "--ids=4,1", "alone it is no list");
    let out = Template::parse("{out}", Purpose::Argv).unwrap();
    assert_eq!(out.fill_many(&items, Some("/tmp/x")).unwrap(), "/tmp/x");
}

#[test]
fn times_are_formatted_from_their_plain_text() {
    let filled = |format: &str, text: &str| {
        Template::parse(&format!("{{day:{format}}}"), Purpose::Argv).unwrap().fill(&values(&[("day", text)])).unwrap()
    };
    assert_eq!(filled("%Y%m%d", "2024-10-01"), "20241001");
    assert_eq!(filled("%Y/%m/%d/%-H", "2024-10-01T05"), "2024/10/01/5");
    assert_eq!(filled("%b %Y", "2024-10"), "Oct 2024");
    assert_eq!(filled("%Y-%m-%d %H:%M", "2024-10-22T19:30:00-04:00"), "2024-10-22 19:30", "in the offset it was written with");
    assert_eq!(filled("%H:%M", "2024-10-22T23:30:00Z"), "23:30");
    let zoned = instant_text("2024-10-22T23:30:00Z".parse().unwrap(), &TimeZone::get("America/New_York").unwrap());
    assert_eq!(zoned, "2024-10-22T19:30:00-04:00");
}

#[test]
fn a_qualified_name_finds_the_value_under_its_short_one() {
    let template = Template::parse("{game.game_id}", Purpose::Argv).unwrap();
    assert_eq!(template.fill(&values(&[("game_id", "401")])).unwrap(), "401");
    assert!(Template::parse("{nobody}", Purpose::Argv).unwrap().fill(&values(&[("game_id", "401")])).is_err());
}

#[test]
fn no_value_leaves_its_segment_of_a_path_and_what_is_written_may_go_anywhere() {
    let fill = |path: &str, text: &str| Template::parse(path, Purpose::Path).unwrap().fill(&values(&[("x", text), ("day", "2024-10-01")]));
    assert_eq!(fill("../out/./{x}.html", "401").unwrap(), "../out/./401.html");
    assert_eq!(fill("/var/{day:%Y/%m}/{x}", "a b").unwrap(), "/var/2024/10/a b");
    for escape in ["../etc", "a/b", "", "a\0b"] {
        assert!(fill("out/{x}", escape).is_err(), "{escape:?}");
    }
    for (path, value) in [("{x}/passwd", ".."), ("a/{x}./b", "."), ("../{x}", "."), (".{x}/b", ".")] {
        assert!(fill(path, value).unwrap_err().message.contains("a value makes `.` or `..` a segment"), "{path} {value}");
    }
    for no_file in ["", "out/", "out/{x}/", "out/..", "."] {
        assert!(Template::parse(no_file, Purpose::Path).unwrap_err()[0].message.contains("names no file"), "{no_file}");
    }
    assert!(Template::parse("{a}{b}", Purpose::Path).is_ok(), "nobody reads a path backwards");
}
