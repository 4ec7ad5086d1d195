use super::*;
use crate::command::outcome::{Cancel, View};
use crate::engine::EngineEvent;
use crate::request::{GenerateRequest, JobId, Seed};
use crate::session::{Catalog, Name};

fn session() -> Session {
    let mut session = Session::new(GenerateRequest::default());
    let name = |name: &str| Name { name: name.into(), help: "words".into() };
    session.catalog = Catalog {
        models: vec![name("embedded"), name("org/turbo")],
        schedulers: vec![name("ddim"), name("euler")],
        themes: vec![name("ansi"), name("nord")],
    };
    session
}

fn run(session: &mut Session, line: &str) -> Outcome {
    execute(line, session).unwrap_or_else(|error| panic!("{}", error.render(line)))
}

fn submitted(session: &mut Session, line: &str) -> Submission {
    match run(session, line) {
        Outcome::Submit(submission) => submission,
        other => panic!("{line}: {other:?}"),
    }
}

fn printed(session: &mut Session, line: &str) -> String {
    match run(session, line) {
        Outcome::Print(lines) => lines.join("\n"),
        other => panic!("{line}: {other:?}"),
    }
}

fn error(session: &mut Session, line: &str) -> String {
    execute(line, session).expect_err(line).render(line)
}

#[test]
fn settings_hold_for_the_lines_that_follow() {
    let mut session = session();
    assert_eq!(printed(&mut session, "/set width 768"), "width default → 768");
    assert_eq!(printed(&mut session, "/cfg 7"), "guidance-scale default → 7");
    assert_eq!(printed(&mut session, "/set s 12"), "steps default → 12");
    assert_eq!(printed(&mut session, "/set n 4"), "num-images default → 4");
    assert_eq!(printed(&mut session, "/set n blurry, ugly"), "negative-prompt default → blurry, ugly");
    assert_eq!(printed(&mut session, "/negative \"\""), "negative-prompt blurry, ugly → default");
    assert_eq!(printed(&mut session, "/set n default"), "negative-prompt default → default");
    assert_eq!(printed(&mut session, "/num-images default"), "num-images 4 → default");
    let request = submitted(&mut session, "a fox -s 3").jobs.remove(0).request;
    assert_eq!((request.steps, request.width, request.guidance_scale), (Some(3), Some(768), Some(7.0)));
    assert!(printed(&mut session, "/show").contains("● width            768"));
    assert!(printed(&mut session, "/reset width").contains("  width            default"));
    assert!(!printed(&mut session, "/reset").contains('●'));
    assert_eq!(
        printed(&mut session, "/scheduler"),
        "scheduler default: scheduler, also called sampler\n  ddim  words\n  euler  words"
    );
    assert_eq!(printed(&mut session, "/sampler ddim"), "scheduler default → ddim");
    assert!(printed(&mut session, "/set scheduler").contains("● ddim"));
    assert_eq!(error(&mut session, "/set image x.png"), "image holds for one line; type it there as --image");
    assert_eq!(error(&mut session, "/steps 0"), "steps goes from 1 to 1000, not `0`");
    insta::assert_snapshot!(error(&mut session, "/set stesp 3"), @"
    there is no setting `stesp`; /show lists them
      /set stesp 3
           ^^^^^ did you mean steps?
    ");
}

#[test]
fn pictures_come_from_pictures() {
    let mut session = session();
    let first = submitted(&mut session, "a dog -S 7").jobs[0].clone();
    let submission = submitted(&mut session, "s/dog/fox/ -C 6");
    assert_eq!(submission.jobs[0].request.prompt, "a fox");
    assert_eq!(submission.jobs[0].request.seed, Some(Seed::Fixed(7)));
    assert_eq!(submission.parent, Some(first.id));
    assert_eq!(submission.diff.unwrap().to_string(), "a [-dog-]{+fox+}");
    assert_eq!(submission.lines, ["guidance-scale default → 6"]);

    let number = execute("/rerun 1", &mut session).unwrap_err().to_string();
    assert!(number.contains("type $1 for picture 1"), "{number}");
    let again = submitted(&mut session, "/rerun $1").jobs.remove(0);
    assert_eq!(again.request, first.request);
    let changed = submitted(&mut session, "/rerun #1 -s 40 -n \"blurry\"").jobs.remove(0);
    assert_eq!((changed.request.steps, changed.request.seed), (Some(40), Some(Seed::Fixed(7))));
    let reworded = submitted(&mut session, "/branch $1 a cat at night").jobs.remove(0);
    assert_eq!(reworded.request.prompt, "a cat at night");
    let added = submitted(&mut session, "/branch $1 + at night").jobs.remove(0);
    assert_eq!(added.request.prompt, "a dog, at night");
    assert_eq!(printed(&mut session, "/branch $2"), "going on from #2 a fox");
    assert_eq!(printed(&mut session, "/undo"), "back at #1 a dog");
    assert_eq!(error(&mut session, "/back 3"), "there is no picture before $1");
    assert!(printed(&mut session, "/tree").starts_with("● #1 a dog [queued]\n├─○ #2 a fox [queued]"));

    let varied = submitted(&mut session, "/vary $1 3 0.2");
    assert_eq!(varied.jobs.len(), 3);
    assert!(varied.jobs.iter().all(|job| job.request.variation == Some(0.2)));
    assert_eq!(submitted(&mut session, "/vary").jobs.len(), 4);
    assert_eq!(error(&mut session, "/vary 0"), "make from 1 to 99 variations, not 0");
    assert_eq!(run(&mut session, "/edit $2"), Outcome::Edit("a fox -C 6 -S 7".into()));
    assert_eq!(run(&mut session, "/copy $1"), Outcome::Copy("a dog -S 7".into()));
    assert!(printed(&mut session, "/use $2").contains("● guidance-scale   6"));
    assert_eq!(session.settings().seed, None);
}

#[test]
fn many_pictures_are_asked_about() {
    let mut session = session();
    let submission = submitted(&mut session, "a {red|blue} fox --steps 1..4");
    assert_eq!(submission.lines, ["8 pictures: steps 1, 2, 3, 4 × {red|blue} red, blue"]);
    let before = session.ledger().entries().count();
    let Outcome::Confirm { question, plan } = run(&mut session, "a fox --seed 1..20 -A ddim,euler") else {
        panic!()
    };
    assert_eq!(question, "40 pictures: scheduler ddim, euler × seed 1 … 20. Make them all?");
    assert_eq!(session.ledger().entries().count(), before);
    let Outcome::Submit(submission) = confirmed(&mut session, &plan) else { panic!() };
    assert_eq!(submission.jobs.len(), 40);
    assert_eq!(submission.jobs[39].id, JobId(48));
    assert_eq!(
        (duration(40.2), duration(100.0), duration(7300.0)),
        ("40 s".into(), "2 min".into(), "2 h 2 min".into())
    );
}

#[test]
fn the_queue_is_shown_and_stopped() {
    let mut session = session();
    assert_eq!(printed(&mut session, "/queue"), "nothing runs and nothing waits");
    submitted(&mut session, "a fox -n 2");
    session.apply(&EngineEvent::Started { job: JobId(1) });
    session.apply(&EngineEvent::Step { job: JobId(1), step: 3, steps: 20, seconds: 0.1 });
    assert_eq!(printed(&mut session, "/queue"), "#1 a fox · step 3 of 20\n#2 a fox · queued");
    assert_eq!(run(&mut session, "/pause"), Outcome::Pause(true));
    assert!(printed(&mut session, "/queue").ends_with("the queue is paused; /resume goes on"));
    assert_eq!(run(&mut session, "/resume"), Outcome::Resume(Vec::new()));
    assert_eq!(run(&mut session, "/cancel"), Outcome::Cancel(Cancel::Running));
    assert_eq!(run(&mut session, "/cancel $2"), Outcome::Cancel(Cancel::Job(JobId(2))));
    assert_eq!(run(&mut session, "/cancel all"), Outcome::Cancel(Cancel::All));
    session.apply(&EngineEvent::Cancelled { job: JobId(1), step: 3 });
    assert_eq!(printed(&mut session, "/cancel #1"), "#1 is cancelled already");
    assert_eq!(
        error(&mut session, "/open $2"),
        "picture $2 is not finished yet; wait for it, or name another one"
    );
    insta::assert_snapshot!(error(&mut session, "/cancel everything"), @"
    this is too much, or not what is wanted here; type /cancel [all] [picture]
      /cancel everything
              ^^^^^^^^^^
    ");
}

#[test]
fn history_is_rated_noted_named_and_searched() {
    let mut session = session();
    submitted(&mut session, "a fox -S 1");
    submitted(&mut session, "a dog -S 2");
    assert_eq!(printed(&mut session, "/rate 4"), "#2 ★★★★");
    assert_eq!(printed(&mut session, "/rate $1 2"), "#1 ★★");
    assert_eq!(printed(&mut session, "/rate #1 0"), "#1 no stars");
    assert_eq!(error(&mut session, "/rate 6"), "a rating goes from 0 (none) to 5, not 6");
    assert_eq!(printed(&mut session, "/note don't lose this"), "#2 don't lose this");
    assert_eq!(printed(&mut session, "/note $1 \"\""), "#1 no note");
    assert_eq!(printed(&mut session, "/name $1 hero"), "#1 is $@hero");
    assert_eq!(
        error(&mut session, "/name two words"),
        "`two words` is no name; use letters, digits, - and _"
    );
    assert!(
        printed(&mut session, "/history rating>=4 lose")
            .contains("a dog · seed 2 · queued · ★★★★ · don't lose this")
    );
    assert!(printed(&mut session, "/history hero").contains("#1"));
    assert_eq!(printed(&mut session, "/history all zebra"), "no picture is like that");
    assert!(error(&mut session, "/history step>2").contains("did you mean steps?"));
    assert!(printed(&mut session, "/show $@hero").contains("name             $@hero"));
    assert_eq!(
        error(&mut session, "/show $9"),
        "there is no picture $9 in this session; /history lists them"
    );
}

#[test]
fn the_rest_is_for_the_front_end() {
    let mut session = session();
    submitted(&mut session, "a fox");
    submitted(&mut session, "a dog");
    let outcomes = [
        ("/gallery rating>3", Outcome::Open(View::Gallery { filter: "rating>3".into() })),
        ("/compare $1", Outcome::Open(View::Compare(JobId(1), JobId(2)))),
        ("/full", Outcome::Open(View::Full)),
        ("/memory", Outcome::Open(View::Memory)),
        ("/memory plan", Outcome::Open(View::MemoryPlan)),
        ("/theme", Outcome::Open(View::Themes)),
        ("/theme nord", Outcome::SetTheme("nord".into())),
        ("/save $1 \"my fox.png\"", Outcome::Save { job: JobId(1), to: "my fox.png".into() }),
        ("/save my fox.png", Outcome::Save { job: JobId(2), to: "my fox.png".into() }),
        ("/load x.png", Outcome::Load("x.png".into())),
        ("/unload", Outcome::Unload),
        ("/doctor", Outcome::Doctor),
        ("/bye", Outcome::Quit),
        ("q", Outcome::Quit),
        ("# a comment", Outcome::Nothing),
    ];
    for (line, outcome) in outcomes {
        assert_eq!(run(&mut session, line), outcome, "{line}");
    }
    assert_eq!(
        error(&mut session, "/theme nrod"),
        "there is no theme `nrod`; /theme shows them, did you mean nord?"
    );
    insta::assert_snapshot!(error(&mut session, "/save"), @"
    this needs more; type /save [picture] FILE
      /save
      ^^^^^
    ");
}

#[test]
fn help_is_there_for_everything() {
    let mut session = session();
    let overview = printed(&mut session, "/help");
    assert!(overview.lines().all(|line| line.chars().count() <= 120), "{overview}");
    for (name, _) in crate::command::table::names() {
        assert!(printed(&mut session, &format!("/help {name}")).contains(name));
    }
    assert_eq!(printed(&mut session, "/? /quit"), "/quit\n  leave; also Ctrl-D\n  Also /bye, /exit, /q.");
    assert!(printed(&mut session, "/help --image").contains("-I, --image"));
    assert!(printed(&mut session, "/help filters").contains("rating:"));
    assert_eq!(error(&mut session, "/help zebra"), "there is no help on `zebra`; /help lists everything");
}

#[test]
fn the_middle_of_a_picture_is_named_by_its_step() {
    let mut session = Session::new(GenerateRequest::default());
    execute("a fox -S 3 -s 20", &mut session).unwrap();
    execute("/name fox", &mut session).unwrap();
    for line in ["/branch $1@9 at night", "/branch #1@9 -C 3", "/branch $@fox@9 + rain", "/branch $-1@9"] {
        session.make_current(crate::request::JobId(1)).unwrap();
        let Outcome::Submit(submission) = execute(line, &mut session).unwrap() else { panic!("{line}") };
        let branch = submission.jobs[0].request.branch.clone().unwrap();
        assert_eq!((branch.step, branch.of.prompt.as_str()), (9, "a fox"), "{line}");
        assert_eq!(submission.parent.unwrap().0, 1, "{line}");
    }
    session.make_current(crate::request::JobId(1)).unwrap();
    let Outcome::Submit(submission) = execute("/branch @4 -C 3", &mut session).unwrap() else { panic!() };
    assert_eq!(submission.jobs[0].request.branch.as_ref().unwrap().step, 4);
    assert_eq!(submission.lines[0], "from step 4 of #1 a fox");
    let error = execute("/branch $1@9 768x512", &mut session).unwrap_err().to_string();
    assert!(error.contains("width cannot change in the middle"), "{error}");
    let error = execute("/branch $1@x", &mut session).unwrap_err().to_string();
    assert!(error.contains("$12@9"), "{error}");
}
