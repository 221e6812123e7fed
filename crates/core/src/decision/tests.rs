use jiff::Timestamp;
use milescale_document::decimal::Decimal;

use super::{Decision, Lever, Part, Verdict, decide};
use crate::backend::Backend::{self, Database, File, Hybrid};
use crate::config::Config;
use crate::figures::{Figures, History, LogFigures, Observation, OperationTimes, Stale, StoreFigures};

struct Case {
    current: Backend,
    milestones: u64,
    users: u64,
    query: i64,
    hours: u64,
    times: &'static [i64],
}

const BASE: Case = Case { current: File, milestones: 0, users: 1, query: 0, hours: 0, times: &[200; 10] };
const DEGRADING: &[i64] = &[100, 100, 100, 100, 100, 200, 200, 200, 200, 200];
const SLOW: &[i64] = &[600; 10];
const FAST: &[i64] = &[10; 10];

impl Case {
    fn observation(&self) -> Observation {
        let query = OperationTimes { average: self.query, recent: self.query };
        Observation {
            now: Timestamp::UNIX_EPOCH,
            current: Some(self.current),
            undecidable: None,
            figures: Figures {
                store: Some(StoreFigures { milestone_count: self.milestones, ..StoreFigures::default() }),
                log: Some(LogFigures { concurrent_users: self.users, query, ..LogFigures::default() }),
                backend_age_seconds: Some(self.hours * 3600),
                ..Figures::default()
            },
            stale: Vec::new(),
        }
    }

    fn history(&self) -> History {
        History { query_times: self.times.iter().map(|&time| Decimal::whole(time)).collect() }
    }

    fn decide(&self) -> Decision {
        decide(&Config::default(), &self.observation(), &self.history())
    }

    fn optimal(&self) -> Backend {
        self.decide().optimal.unwrap()
    }

    fn confidence(&self) -> u8 {
        self.decide().confidence.unwrap()
    }
}

#[test]
fn optimal_follows_thresholds_and_slow_queries() {
    for (current, milestones, users, query, expected) in [
        (File, 24, 4, 500, File),
        (File, 25, 4, 0, Hybrid),
        (File, 0, 5, 0, Hybrid),
        (File, 99, 19, 0, Hybrid),
        (File, 100, 0, 0, Database),
        (File, 0, 20, 0, Database),
        (File, 0, 0, 501, Hybrid),
        (File, 0, 0, 1001, Database),
        (File, 200, 0, 501, Hybrid),
        (Hybrid, 0, 0, 501, File),
        (Hybrid, 30, 0, 1000, Hybrid),
        (Hybrid, 0, 0, 1001, Database),
        (Database, 0, 0, 5000, File),
        (Database, 30, 0, 0, Hybrid),
        (Database, 100, 0, 0, Database),
    ] {
        let case = Case { current, milestones, users, query, ..BASE };
        assert_eq!(case.optimal(), expected, "{current} {milestones} {users} {query}");
    }
}

#[test]
fn confidence_is_the_sum_of_age_overage_and_trend() {
    for (hours, milestones, times, expected) in [
        (0, 25, BASE.times, 0),
        (2, 25, BASE.times, 0),
        (3, 25, BASE.times, 15),
        (24, 25, BASE.times, 15),
        (25, 25, BASE.times, 30),
        (0, 26, BASE.times, 15),
        (0, 30, BASE.times, 15),
        (0, 31, BASE.times, 25),
        (0, 35, BASE.times, 25),
        (0, 36, BASE.times, 40),
        (0, 100, BASE.times, 0),
        (0, 101, BASE.times, 15),
        (0, 110, BASE.times, 15),
        (0, 111, BASE.times, 25),
        (0, 125, BASE.times, 25),
        (0, 126, BASE.times, 40),
        (25, 36, BASE.times, 70),
        (25, 36, DEGRADING, 100),
        (25, 36, SLOW, 90),
        (25, 36, FAST, 60),
        (25, 0, DEGRADING, 60),
        (0, 0, FAST, 0),
    ] {
        let decision = Case { hours, milestones, times, ..BASE }.decide();
        assert_eq!(decision.confidence, Some(expected), "{hours} {milestones} {times:?}");
        let sum: i64 = decision.reasons.iter().map(|reason| reason.points).sum();
        assert_eq!(sum, i64::from(expected), "the reasons sum to the confidence");
    }
}

#[test]
fn below_nought_is_nought_and_says_so() {
    let decision = Case { times: FAST, ..BASE }.decide();
    let clamp = decision.reasons.iter().find(|reason| reason.part == Part::Clamp).unwrap();
    assert_eq!((decision.confidence, clamp.points), (Some(0), 10));
}

#[test]
fn eighty_recommends_and_less_monitors() {
    let eighty = Case { milestones: 36, hours: 3, times: DEGRADING, ..BASE };
    assert_eq!((eighty.confidence(), eighty.decide().verdict), (85, Verdict::MigrationRecommended));
    let less = Case { milestones: 36, hours: 3, times: SLOW, ..BASE };
    assert_eq!((less.confidence(), less.decide().verdict), (75, Verdict::Monitoring));
    let exact = Case { milestones: 31, hours: 25, times: SLOW, ..BASE };
    assert_eq!((exact.confidence(), exact.decide().verdict), (75, Verdict::Monitoring));
    let fits = Case { current: Hybrid, milestones: 36, hours: 30, times: DEGRADING, ..BASE };
    assert_eq!((fits.confidence(), fits.decide().verdict), (100, Verdict::Optimal));
}

#[test]
fn every_current_backend_and_every_move() {
    for (current, milestones, verdict) in [
        (File, 10, Verdict::Optimal),
        (Hybrid, 10, Verdict::Monitoring),
        (Database, 10, Verdict::Monitoring),
        (File, 40, Verdict::MigrationRecommended),
        (Hybrid, 40, Verdict::Optimal),
        (Database, 40, Verdict::MigrationRecommended),
        (File, 130, Verdict::MigrationRecommended),
        (Hybrid, 130, Verdict::MigrationRecommended),
        (Database, 130, Verdict::Optimal),
    ] {
        let case = Case { current, milestones, hours: 30, times: DEGRADING, ..BASE };
        assert_eq!(case.decide().verdict, verdict, "{current} {milestones}");
    }
}

#[test]
fn the_limits_of_the_classic_policy_are_told() {
    let ceiling = |case: Case| case.decide().outlook.unwrap().ceiling;
    assert_eq!(ceiling(Case { users: 9, ..BASE }), 30, "people alone");
    assert_eq!(
        ceiling(Case { users: 9, query: 700, times: DEGRADING, ..BASE }),
        60,
        "slow queries, with or without people"
    );
    assert_eq!(ceiling(Case { milestones: 60, ..BASE }), 70, "milestones alone");
    assert_eq!(ceiling(Case { current: Hybrid, times: DEGRADING, ..BASE }), 60, "a move to file");
    let words = Case { current: Hybrid, times: DEGRADING, ..BASE }.decide().outlook.unwrap().words;
    assert!(words.starts_with("80 cannot be reached: a move to file gets 60 at most"), "{words}");
}

#[test]
fn the_outlook_names_what_is_missing_and_keeps_its_word() {
    let case = Case { milestones: 36, hours: 22, times: SLOW, ..BASE };
    let outlook = case.decide().outlook.unwrap();
    assert!(outlook.reachable_by_waiting);
    assert_eq!(outlook.words.split(';').next().unwrap(), "recommended if the backend were over 24 h old (in 3 h)");
    let older = Case { hours: 25, ..case };
    assert_eq!(older.decide().verdict, Verdict::MigrationRecommended);

    let case = Case { milestones: 31, hours: 30, times: SLOW, ..BASE };
    let outlook = case.decide().outlook.unwrap();
    assert!(!outlook.reachable_by_waiting);
    assert_eq!(outlook.words.split(';').next().unwrap(), "waiting alone stops at 75");
    assert!(outlook.words.contains("recommended if there were 5 more milestones"), "{}", outlook.words);
    let more = Case { milestones: 36, ..case };
    assert_eq!(more.decide().verdict, Verdict::MigrationRecommended);
}

#[test]
fn every_alternative_leads_to_a_recommendation_and_asks_for_no_more_than_it_must() {
    for milestones in [0, 24, 26, 33, 99, 101, 130] {
        for hours in [0, 3, 30] {
            for times in [FAST, BASE.times, SLOW, DEGRADING] {
                let case = Case { milestones, hours, times, users: 6, ..BASE };
                let decision = case.decide();
                let outlook = decision.outlook.unwrap();
                if decision.verdict != Verdict::Monitoring {
                    assert!(outlook.alternatives.is_empty());
                    continue;
                }
                for changes in &outlook.alternatives {
                    let mut changed = Case { ..case };
                    for change in changes {
                        match (change.lever, change.needed) {
                            (Lever::BackendAgeHours, super::ReasonValue::Number(hours)) => {
                                changed.hours = u64::try_from(hours).unwrap();
                            }
                            (Lever::MilestoneCount, super::ReasonValue::Number(count)) => {
                                changed.milestones = u64::try_from(count).unwrap();
                            }
                            (_, super::ReasonValue::Trend(trend)) => {
                                changed.times = match trend.as_str() {
                                    "degrading" => DEGRADING,
                                    "stable_slow" => SLOW,
                                    _ => BASE.times,
                                };
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                    assert_eq!(changed.decide().verdict, Verdict::MigrationRecommended, "{changes:?}");
                }
                assert!(!outlook.alternatives.is_empty(), "from file, more milestones always do");
            }
        }
    }
}

#[test]
fn what_is_not_known_is_unavailable_and_never_zero() {
    let mut observation = BASE.observation();
    observation.figures.store = None;
    observation.stale.push(Stale { source: "active".to_owned(), reason: "gone".to_owned() });
    let decision = decide(&Config::default(), &observation, &BASE.history());
    assert_eq!((decision.verdict, decision.optimal, decision.confidence), (Verdict::Unavailable, None, None));
    assert!(decision.stale);
    assert_eq!(decision.unavailable_because, ["the number of milestones is not known", "active: gone"]);
    let mut observation = BASE.observation();
    observation.undecidable = Some("the marker is empty".to_owned());
    let decision = decide(&Config::default(), &observation, &BASE.history());
    assert_eq!((decision.verdict, decision.current), (Verdict::Unavailable, Some(File)));
}

#[test]
fn the_same_input_gives_the_same_decision() {
    let case = Case { milestones: 33, hours: 5, times: DEGRADING, ..BASE };
    assert_eq!(case.decide(), case.decide());
}
