//! `valid: { command: … }`: a program says whether an object is what it should be.

mod support;

use support::place::Place;

fn place(dataset: &str) -> Place {
    let place = Place::new(&format!(
        "version: 1\nname: validators\nlake: ./lake\ndimensions: {{ n: [good, bad] }}\ndatasets:\n  d:\n    key: \"d/{{n}}.txt\"\n    for: n\n    \
         valid: {{ command: [sh, check.sh, \"{{file}}\", \"{{key}}\", \"{{n}}\"], timeout: 2s }}\n{dataset}"
    ));
    // Where it ran and with what: nothing of adce's own environment that is not listed reaches it.
    place
        .write("check.sh", "echo \"$2 $3 ${SECRET:-none}\" >> asked\nif grep -q rotten \"$1\"; then echo 'it is rotten' >&2; exit 3; fi\n");
    place.write("get.sh", "if [ $1 = bad ]; then echo rotten > \"$2\"; else echo fresh > \"$2\"; fi\n");
    place
}

const STAGED: &str = "    collector:\n      command: [sh, get.sh, \"{n}\", \"{out}\"]\n      retry: { attempts: 1 }\n";

#[test]
fn what_a_program_refuses_is_not_published_and_its_word_is_told() {
    let place = place(STAGED);
    let env = [("SECRET", "of adce".to_string())];
    let run = place.adce_with(&env, &["run", "--max-wait", "0s", "--format", "json"]).ends_with(2).json();
    assert_eq!((&run["filled"], &run["failed"]), (&1.into(), &1.into()), "{run}");
    assert_eq!((place.has("lake/d/good.txt"), place.has("lake/d/bad.txt")), (true, false));
    let mut asked: Vec<String> = place.read("asked").lines().map(String::from).collect();
    asked.sort();
    assert_eq!(asked, ["d/bad.txt bad none", "d/good.txt good none"]);
    place.adce(&["why", "d/bad.txt"]).says("not valid: ").says("it is rotten");
}

#[test]
fn what_a_command_wrote_itself_is_suspect_with_the_programs_word() {
    let place = place(
        "    collector:\n      command: [sh, get.sh, \"{n}\", \"lake/d/{n}.txt\"]\n      output: direct\n      retry: { attempts: 1 }\n",
    );
    std::fs::create_dir_all(place.path("lake/d")).unwrap();
    place.adce(&["run", "--max-wait", "0s"]).ends_with(2);
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!((&plan["coverage"]["present"], &plan["coverage"]["suspect"]), (&1.into(), &1.into()), "{plan}");
    place.adce(&["why", "d/bad.txt"]).says("it is rotten");
}

#[test]
fn a_program_that_hangs_is_ended_and_the_file_is_not_valid() {
    let place = place(STAGED);
    place.write("check.sh", "sleep 600\n");
    place.adce(&["run", "--max-wait", "0s"]).ends_with(2);
    assert!(!place.has("lake/d/good.txt"));
    place.adce(&["why", "d/good.txt"]).says("not valid: ").says("2s");
}
