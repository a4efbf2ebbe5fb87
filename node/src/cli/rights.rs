//! `tvs rights`: who may ask for what.

use std::collections::BTreeMap;

use clap::Args;
use cluster_config::actor::Role;
use cluster_config::rights::{Ask, Right, table};
use cluster_config::wire::Channel;
use serde::Serialize;

use super::{Failure, output};

/// What to print.
#[derive(Args)]
#[command(after_help = "Examples:\n  tvs rights\n  tvs rights --role carrier\n  tvs rights --json")]
pub struct Arguments {
    /// Only what this role may ask for
    #[arg(long)]
    role: Option<Role>,
    /// Print JSON: every role with every request
    #[arg(long)]
    json: bool,
}

/// One row of the table.
#[derive(Serialize)]
struct Row {
    request: Ask,
    what: &'static str,
    channel: Channel,
    roles: BTreeMap<Role, Right>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let roles = || Role::ALL.iter().copied().filter(|role| arguments.role.is_none_or(|only| only == *role));
    if arguments.json {
        let rows = Ask::ALL.iter().map(|ask| Row {
            request: *ask,
            what: ask.what(),
            channel: ask.channel(),
            roles: roles().map(|role| (role, ask.right_of(role))).collect(),
        });
        return output::json(&rows.collect::<Vec<_>>());
    }
    let Some(role) = arguments.role else {
        return output::print(&output::table(&table().map(Vec::from).collect::<Vec<_>>()));
    };
    let mut rows = vec![vec!["request".to_owned(), role.to_string()]];
    for ask in Ask::ALL {
        rows.extend(ask.right_of(role).in_words().map(|right| vec![ask.what().to_owned(), right.to_owned()]));
    }
    output::print(&output::table(&rows))
}
