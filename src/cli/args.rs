//! What the command line takes.

use crate::config::byte_size;
use crate::diff::Grain;
use crate::output::Format;
use crate::serve::front::Role;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Tells what changed in a network, from VPC Flow Logs.
#[derive(Debug, Parser)]
#[command(name = "flowdiff", version, about, max_term_width = 100)]
#[command(
    after_help = "Windows: 2026-11-20T12:00Z/PT1H, 2026-11-20T12:00Z/2026-11-20T13:00Z, 2026-11-20T12 (an hour), 2026-11-20 (a day), PT1H/now, PT1H/-1h.\nURLs: a folder, file:///path, s3://bucket/prefix.\n\nExit codes: 0 done, 1 internal, 2 invalid input, 3 not found, 4 conflict, 5 unavailable, 6 bad data."
)]
pub struct Args {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Args {
    /// Whether the command reads statements from a prompt.
    pub fn is_prompt(&self) -> bool {
        matches!(&self.command, Command::Sql(sql) if sql.query.is_none() && sql.file.is_none())
    }
}

/// Options of every command.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Settings file (TOML) [default: $FLOWDIFF_CONFIG, ./flowdiff.toml or ~/.config/flowdiff/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the flow logs are.
    #[arg(long, global = true, value_name = "URL")]
    pub source: Option<String>,
    /// Where the digests are.
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// How rows are written; else as the extension of --output says, a table on a terminal, ndjson on a pipe.
    #[arg(long, global = true, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// File to write to instead of stdout; it appears when it is complete.
    #[arg(long, global = true, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// error, warn, info, debug, trace.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json.
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Colours on stderr.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub color: When,
    /// Progress on stderr.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub progress: When,
    /// Memory that operators may hold before they spill, such as 4GiB.
    #[arg(long, global = true, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Threads; 0 for one per core.
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Which port is ephemeral: service or lower.
    #[arg(long, global = true, value_name = "RULE")]
    pub port_rule: Option<String>,
    /// Whose addresses make an edge: packet or interface.
    #[arg(long, global = true, value_name = "RULE")]
    pub addresses: Option<String>,
    /// Write to a store without put-if-absent, knowing that nobody else does.
    #[arg(long, global = true)]
    pub single_writer: bool,
    /// How AWS is reached.
    #[command(flatten)]
    pub aws: Aws,
}

/// Options of access to AWS; what is not given is found as the AWS command line finds it.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "AWS")]
pub struct Aws {
    /// Profile of the shared config and credentials files.
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Region of the buckets; S3 is asked where none is known.
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// Endpoint of a server other than AWS.
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Send unsigned requests, for public buckets.
    #[arg(long, global = true)]
    pub no_sign_request: bool,
    /// Agree to pay for requests to other people's buckets.
    #[arg(long, global = true)]
    pub requester_pays: bool,
}

/// When to do what only a terminal needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write two hours of sample flow logs with a planted change, digest them and show the diff.
    Demo {
        /// Folder for the logs and the digests.
        #[arg(long, default_value = "flowdiff-demo")]
        dir: PathBuf,
    },
    /// Run SQL over flows, edges, interfaces, objects and windows; without a query, at a prompt.
    #[command(
        after_help = "flowdiff sql --source logs \"SELECT srcaddr, sum(bytes) AS bytes FROM flows WHERE \\\"end\\\" >= '2026-11-20T12:00:00Z' GROUP BY srcaddr ORDER BY bytes DESC LIMIT 10\""
    )]
    Sql(SqlArgs),
    /// Build and publish the digest of one window.
    Digest {
        /// The window.
        window: String,
        /// Build it again even if it is final.
        #[arg(long)]
        force: bool,
        /// Print the plan that folds the edges, and build nothing.
        #[arg(long, conflicts_with = "dry_run")]
        explain: bool,
        /// Tell how many objects, bytes, requests and dollars it would take, and read nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Build and publish every window of a range; what is published already is left as it is.
    Backfill(BackfillArgs),
    /// Keep digests up to date as objects arrive.
    Follow(FollowArgs),
    /// Merge published digests to wider ones, reading no flow log.
    Compact {
        /// First instant of the range.
        #[arg(long, allow_hyphen_values = true)]
        from: String,
        /// Where the range ends.
        #[arg(long, default_value = "now", allow_hyphen_values = true)]
        to: String,
        /// Width of the digests to make.
        #[arg(long, default_value = "1d")]
        width: String,
    },
    /// Remove old digests and superseded versions, with --apply.
    ///
    /// Without, it tells which.
    Retain {
        /// How long digests of less than a day are kept, such as 90d; without it, for ever.
        #[arg(long)]
        hours: Option<String>,
        /// How long digests of a day and more are kept, such as 3y; without it, for ever.
        #[arg(long)]
        days: Option<String>,
        /// Let go also what finished wider digests were made from.
        #[arg(long)]
        rolled_up: bool,
        /// How long provisional versions are kept after newer ones took their place; without it, as followers do (1h).
        #[arg(long)]
        superseded: Option<String>,
        /// Remove them.
        #[arg(long)]
        apply: bool,
    },
    /// Show what is published, and how complete it is.
    Windows {
        /// Windows that end after this time.
        #[arg(long, allow_hyphen_values = true)]
        from: Option<String>,
        /// Windows that begin before this time.
        #[arg(long, allow_hyphen_values = true)]
        to: Option<String>,
    },
    /// Print the edges of a window.
    Edges {
        /// The window.
        window: String,
        /// Refuse a window that is not published.
        #[arg(long)]
        no_build: bool,
    },
    /// Print the edges of a window as a graph (DOT unless --format says otherwise).
    Graph {
        /// The window.
        window: String,
        /// What edges are folded to before they are drawn.
        #[arg(long, default_value = "edge")]
        by: Grain,
        /// Refuse a window that is not published.
        #[arg(long)]
        no_build: bool,
    },
    /// Print what differs between two windows.
    Diff(DiffArgs),
    /// Run a query by name.
    Query {
        /// Name of the query.
        name: Option<String>,
        /// A parameter, name=value.
        #[arg(long, value_name = "NAME=VALUE")]
        param: Vec<String>,
        /// Let edges, interfaces and objects be those of one window, and window_start and window_stop, or start and stop, its ends.
        #[arg(long, allow_hyphen_values = true)]
        window: Option<String>,
        /// List the queries there are, with their parameters.
        #[arg(long)]
        list: bool,
    },
    /// Print the raw lines behind an edge.
    Explain(ExplainArgs),
    /// Serve digests and diffs over HTTP, until Ctrl-C or SIGTERM.
    Serve(ServeArgs),
    /// Check settings, source, store, queue, reports; say what is wrong and how to mend it.
    Check {
        /// Send each report's receiver a test message.
        #[arg(long)]
        send_test: bool,
    },
    /// Print the least IAM policy for the source and the store.
    IamPolicy,
    /// Print a script of views over the store for DuckDB.
    DuckdbInit,
    /// Print tables and views over the store for Athena.
    AthenaDdl {
        /// First day that Athena looks at: a date or a time ago; default: three years ago.
        #[arg(long, allow_hyphen_values = true)]
        since: Option<String>,
    },
    /// Tokens for the service.
    Token {
        /// What to do with them.
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Settings.
    Config {
        /// What to do with them.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff), or write a page for each command.
    Man {
        /// Folder for a page of each command.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// `config ...`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting.
    Show {
        /// And where each came from.
        #[arg(long)]
        origin: bool,
    },
}

/// `token ...`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Print a new token, and the line of the tokens file that lets it in.
    New {
        /// What it may do; give it again for more.
        #[arg(long = "role", value_name = "ROLE", default_value = "read")]
        roles: Vec<Role>,
        /// Who uses it, for the log.
        #[arg(long, default_value = "client")]
        name: String,
        /// Add the line to this file.
        #[arg(long, value_name = "FILE")]
        append: Option<PathBuf>,
    },
}

/// `sql ...`.
#[derive(Debug, ClapArgs)]
pub struct SqlArgs {
    /// The statement.
    pub query: Option<String>,
    /// File that holds it.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Let edges, interfaces and objects be those of one window, made from published digests and objects.
    #[arg(long, allow_hyphen_values = true)]
    pub window: Option<String>,
    /// A parameter, name=value.
    #[arg(long, value_name = "NAME=VALUE")]
    pub param: Vec<String>,
}

/// `backfill ...`.
#[derive(Debug, ClapArgs)]
pub struct BackfillArgs {
    /// First instant of the range: a date, RFC 3339, or -30d.
    #[arg(long, allow_hyphen_values = true)]
    pub from: String,
    /// Where the range ends.
    #[arg(long, default_value = "now", allow_hyphen_values = true)]
    pub to: String,
    /// Width of the windows.
    #[arg(long, default_value = "1h")]
    pub width: String,
    /// Tell what there is to do and what it would take, and read nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Build windows again that are final.
    #[arg(long, conflicts_with = "only_late")]
    pub force: bool,
    /// Take up what no digest of these windows has yet, late objects as well; --width as follow has it.
    #[arg(long)]
    pub only_late: bool,
    /// Then merge the digests to wider ones, such as 1d.
    #[arg(long, value_name = "WIDTH")]
    pub roll_up: Option<String>,
    /// Windows that are written at once, while the next ones are read.
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
}

/// `follow ...`.
#[derive(Debug, ClapArgs)]
pub struct FollowArgs {
    /// Take what is there and end, as for cron.
    #[arg(long)]
    pub once: bool,
    /// Width of the windows [default: follow.width, 1h]
    #[arg(long)]
    pub width: Option<String>,
    /// Address and port to serve /metrics on
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address, conflicts_with = "once")]
    pub metrics: Option<SocketAddr>,
}

/// `diff ...`.
#[derive(Debug, ClapArgs)]
pub struct DiffArgs {
    /// The earlier window, or `previous`: the one that ends where AFTER begins.
    pub before: String,
    /// The later window.
    pub after: String,
    /// What edges are folded to before they are compared.
    #[arg(long)]
    pub by: Option<Grain>,
    /// Show an edge in both as changed if its bytes moved by at least this many, such as 500kB or 1MiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub min_bytes: Option<u64>,
    /// And by at least this ratio.
    #[arg(long)]
    pub ratio: Option<f64>,
    /// Exit with 1 if there is a difference.
    #[arg(long)]
    pub exit_code: bool,
    /// Refuse windows that are not published.
    #[arg(long)]
    pub no_build: bool,
}

/// `serve ...`.
#[derive(Debug, ClapArgs)]
pub struct ServeArgs {
    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Listen beyond this machine without tokens, because something in front asks who it is.
    #[arg(long)]
    pub insecure: bool,
    /// Follow the source, too: keep digests up to date and tell of changes
    #[arg(long)]
    pub follow: bool,
}

/// `explain ...`.
#[derive(Debug, ClapArgs)]
pub struct ExplainArgs {
    /// The window.
    pub window: String,
    /// Source address of the edge.
    #[arg(long)]
    pub srcaddr: String,
    /// Destination address of the edge.
    #[arg(long)]
    pub dstaddr: String,
    /// Port on either side.
    #[arg(long)]
    pub port: Option<u16>,
    /// IANA protocol number.
    #[arg(long)]
    pub protocol: Option<u8>,
    /// Interface.
    #[arg(long)]
    pub interface_id: Option<String>,
    /// Lines at most.
    #[arg(long, default_value_t = 100)]
    pub limit: u64,
}

fn size(text: &str) -> Result<u64, String> {
    byte_size::parse(text).ok_or_else(|| "write a number of bytes, or a size such as 500kB or 1MiB".to_owned())
}

/// Where to listen: an address, not a name, for a name may have several.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}
