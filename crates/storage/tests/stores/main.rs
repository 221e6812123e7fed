//! One suite for every store: a further one is one line in [`suite!`].

#![allow(clippy::disallowed_methods, reason = "tests look with their own eyes")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]
#![allow(clippy::print_stdout, reason = "figures of a run")]

mod any;
mod bad_postgres;
mod bad_sqlite;
mod bench;
mod conformance;
mod costs;
mod large;
mod new_server;
mod others;
mod race;

use bench::{Bench, Kind};

macro_rules! suite {
    ($($store:ident = $kind:expr;)*) => {
        $(mod $store {
            use super::*;
            cases!($kind);
        })*
    };
}

macro_rules! cases {
    ($kind:expr) => {
        cases!($kind;
            lists_and_searches_say_what_a_scan_says,
            what_is_put_is_shown_byte_for_byte,
            nothing_is_overwritten_that_was_not_seen,
            figures_count_what_the_contract_counts,
            archived_counts_no_more_and_keeps_its_comments,
            the_archive_is_the_same_beside_every_store,
            a_scan_hands_over_everything_in_order,
            some_that_are_got_at_once_are_what_each_is,
            a_bulk_load_is_all_there,
            a_milestone_that_is_not_there_is_an_error_of_its_own,
            texts_are_data,
            ids_that_differ_in_case_are_two,
            check_finds_nothing_wrong_in_what_milescale_wrote,
            what_is_replaced_is_kept,
            any_document_comes_back_as_it_was,
            scalars_come_back_digit_for_digit,
            two_puts_at_once_never_overwrite_each_other,
        );
    };
    ($kind:expr; $($case:ident,)*) => {
        $(#[test]
        fn $case() {
            conformance::$case(&Bench::new($kind));
        })*

        #[test]
        fn large_ones_are_read_a_few_at_once_and_none_is_left_out() {
            large::large_ones_are_read_a_few_at_once_and_none_is_left_out(&Bench::new($kind));
        }

        #[test]
        fn a_thousand_times_two_puts_with_a_shell_among_them() {
            race::a_thousand_times_two_puts_with_a_shell_among_them(&Bench::new($kind));
        }
    };
}

suite! {
    files = Kind::Files;
    hybrid = Kind::Hybrid;
    sqlite = Kind::Sqlite;
    postgres = Kind::Postgres;
}
