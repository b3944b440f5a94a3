//! `streamhub serve`: takes the data directory into possession and answers over HTTP.
//!
//! The socket is bound first, so that a taken port is known before anything is touched, and answers
//! while the databases are still being opened. That it listens is said once they are open.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use streamhub::apps::Tally;
use streamhub::report::SplitReport;
use streamhub::settings::Overrides;
use streamhub::tokens::Token;
use streamhub::{Hub, HubConfig, HubError, LogSink, Observer};
use streamhub_server::{ServerConfig, Service};
use streamhub_split::Older;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task;

use crate::announce::Announcer;
use crate::args::Global;
use crate::context::Context;
use crate::exit::{Code, Refusal};
use crate::output;

/// Open the databases, taking an older system's data over where there is any, and serve the API.
///
/// Answers /health and /ready at once; /ready is 503 until the databases are open. An app that cannot
/// be taken over is reported and does not keep the others from being served. While no superadmin has a
/// password, a one-time set-up token is printed on standard error at each start. SIGTERM and SIGINT
/// end it in good order. Streams that were live when the server before ended are ended at the start;
/// where the media server goes on by itself, `STREAMHUB_LIVE_STREAMS=keep` leaves them live.
///
/// What it logs goes to standard error: what is wrong, with `-v` also what is done and a line for each request, with its
/// id, route, status, duration and caller. With `--log-format json` those lines are there without `-v`; `-q` leaves them
/// out, and `STREAMHUB_LOG` (as `warn,access=info`) says it in full.
///
/// Commands that change something ask the server that runs on their data directory: where it is and what it accepts
/// of them stands in streamhub.server.json there, which only the directory's owner can read. Where the server
/// listens on one address of the network only, that is not said, and commands need --url and --token-file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub serve --data-dir /srv/media\n  streamhub serve --data-dir /srv/media --listen 0.0.0.0:3020 --log-format json"
)]
pub(crate) struct Args {
    /// The address to listen on; port 0 chooses a free one [default: 127.0.0.1:3020]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// What a program learns on standard output once the server is ready.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Started<'a> {
    address: String,
    created: bool,
    take_over: Option<&'a SplitReport>,
}

struct Opened {
    hub: Hub,
    tally: Tally,
    token: Option<Token>,
}

pub(crate) fn run(args: &Args, global: &Global) -> anyhow::Result<Code> {
    let logs = LogSink::default();
    let overrides = Overrides { listen: args.listen, ..Overrides::default() };
    let context = Context::find_logging(global, overrides, Some(&logs))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(context, logs));
    // A take-over that outlived the grace cannot be interrupted; it is safe to be cut off anywhere.
    runtime.shutdown_background();
    ended
}

async fn serve(context: Context, logs: LogSink) -> anyhow::Result<Code> {
    let announcer = Announcer::new(context.settings.log_format.value, context.quiet);
    let address = context.settings.listen.value;
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let way_out = "end the program that listens there, or choose another address with --listen";
        Refusal::failed(&format_args!("cannot listen on {address}: {error}"), way_out)
    })?;
    let bound = listener.local_addr()?;
    let address = format!("http://{bound}");
    let grace = Duration::from_secs(context.settings.shutdown_grace_seconds.value.into());
    let mut stopped = stop_signal()?;

    let service = Service::configured(ServerConfig::from(&context.settings));
    let asked_to_stop = {
        let mut stopped = stopped.clone();
        // The sender lives as long as the process.
        async move { drop(stopped.wait_for(|stopped| *stopped).await) }
    };
    let serving = tokio::spawn(streamhub_server::serve(listener, service.clone(), asked_to_stop, grace));
    let json = context.json;
    let observers = [service.observer(), service.control_observer()];
    let mut opening = task::spawn_blocking(move || open(&context, bound, logs, observers));
    let opened = tokio::select! {
        opened = &mut opening => opened??,
        _ = stopped.wait_for(|stopped| *stopped) => {
            match tokio::time::timeout(grace, opening).await {
                Ok(opened) => {
                    let hub = opened??.hub;
                    report(&announcer, &hub);
                    close(hub).await?;
                    announcer.say("stopped");
                }
                Err(_) => announcer.say("stopped while the databases were being opened; the next start goes on"),
            }
            return Ok(Code::Done);
        }
    };
    let Opened { hub, tally, token } = opened;
    report(&announcer, &hub);
    if let Some(token) = &token {
        announcer.setup_token(token);
    }
    service.ready(hub.clone());
    tracing::info!(address, version = env!("CARGO_PKG_VERSION"), "serving");
    announcer.listening(&address);
    announcer.ready(&tally);
    let told = if json {
        let started = Started { address, created: hub.created(), take_over: hub.split() };
        output::result(true, &started, &"")
    } else {
        Ok(())
    };
    let served = if told.is_ok() { serving.await? } else { Ok(()) };
    tracing::info!("stopping");
    close(hub).await?;
    told?;
    served?;
    announcer.say("stopped");
    Ok(Code::Done)
}

fn open(
    context: &Context,
    bound: SocketAddr,
    logs: LogSink,
    [observer, control_observer]: [Arc<dyn Observer>; 2],
) -> Result<Opened, HubError> {
    let config = HubConfig {
        upkeep: true,
        logs: Some(logs),
        live_streams: context.settings.live_streams.value,
        observer,
        control_observer,
        ..context.boot_config(Arc::new(Older::default()))
    };
    let hub = Hub::open(&config, &context.progress())?;
    let begun = begin(&hub, bound);
    if begun.is_err() {
        // Its threads would outlast it, and the process would end while they have the files open.
        let _ = hub.close();
    }
    begun.map(|(tally, token)| Opened { hub, tally, token })
}

fn begin(hub: &Hub, bound: SocketAddr) -> Result<(Tally, Option<Token>), HubError> {
    let tally = hub.tally()?;
    let token = hub.renew_setup_token()?;
    if let Some(local) = on_this_machine(bound) {
        hub.announce(&format!("http://{local}"))?;
    }
    Ok((tally, token))
}

/// Where commands on this machine reach the server as such; none where it listens for others only.
fn on_this_machine(mut bound: SocketAddr) -> Option<SocketAddr> {
    match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => bound.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => bound.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    bound.ip().is_loopback().then_some(bound)
}

fn report(announcer: &Announcer, hub: &Hub) {
    if let Some(report) = hub.split() {
        announcer.taken_over(report);
    }
}

async fn close(hub: Hub) -> anyhow::Result<()> {
    Ok(task::spawn_blocking(move || hub.close()).await??)
}

/// Becomes true with the first SIGTERM or SIGINT; with the second the process ends at once.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if !is_first {
                process::exit(Code::Failed as i32);
            }
            // Nobody listens any more where serving ended already.
            let _ = stop.send(true);
        }
    });
    Ok(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_reached_on_its_machine_by_loopback_only() {
        for (bound, local) in [
            ("127.0.0.1:3020", Some("127.0.0.1:3020")),
            ("0.0.0.0:80", Some("127.0.0.1:80")),
            ("[::]:80", Some("[::1]:80")),
            ("[::1]:80", Some("[::1]:80")),
            ("192.0.2.1:80", None),
            ("[2001:db8::1]:80", None),
        ] {
            let found = on_this_machine(bound.parse().unwrap());
            assert_eq!(found.map(|found| found.to_string()).as_deref(), local, "{bound}");
        }
    }
}
