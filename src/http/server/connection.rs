//! One connection from its first byte to its last: requests in, answers out, and a timely end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::crowd::Member;
use super::wire::{REFUSED, Shared, Socket, Wire};
use super::{Context, Door, Facts, GRACE, Late, Request, stopped};
use crate::http::body::RequestBody;
use crate::http::front::Refusal;
use crate::http::problem::Problem;
use crate::http::reply::{Reply, ReplyBody};

/// The buffer that the HTTP library needs beyond a head, so that a whole one always fits.
const BUFFER_BYTES_SPARE: usize = 8 * 1024;

/// How the HTTP library is set. Its own timeouts stay off: the wire has those.
pub(super) fn protocol(head_bytes_max: usize) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        // A client that has said all it has to say still gets its answer, and a request that is being
        // worked on is not dropped half-way because its client hung up.
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size(head_bytes_max.saturating_add(BUFFER_BYTES_SPARE));
    protocol
}

/// Serves a connection until either side ends it, or the server stops. One that is not welcome is answered
/// that there are too many, without a look at what it asks.
pub(super) async fn attend<H, F>(
    socket: Socket,
    from: Facts,
    context: Arc<Context<H>>,
    member: &Arc<Member>,
    is_welcome: bool,
) where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let shared = Arc::new(Shared::default());
    let mut wire = Wire::new(socket, context.limits, Arc::clone(&shared), Arc::clone(member));
    if !is_welcome {
        wire.refuse(Refusal::Crowded);
    }
    let ended = Arc::new(AtomicBool::new(true));
    let late = Late::default();
    let service = service_fn(|request| {
        let (ended, late) = (Arc::clone(&ended), Arc::clone(&late));
        answer(request, from, Arc::clone(&context), Arc::clone(&shared), ended, late)
    });
    let mut connection = pin!(context.protocol.serve_connection(TokioIo::new(wire), service));
    let mut stop = context.stop.clone();
    tokio::select! {
        biased;
        // How a connection ended is its client's business; what went wrong in a request was told there.
        _ = connection.as_mut() => return,
        () = member.asked_to_leave() => connection.as_mut().graceful_shutdown(),
        () = stopped(&mut stop) => {}
    }
    // One that was asked to leave may have asked something in the same moment, and is answered first.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = stopped(&mut stop) => {}
    }

    let end = Instant::now() + context.limits.drain;
    let mut grace = (Instant::now() + GRACE).min(end);
    while shared.is_silent() || shared.is_underway() {
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = sleep_until(grace) => {}
        }
        if !shared.is_underway() || grace >= end {
            break;
        }
        // A head that has begun has its own limit.
        grace = (grace + GRACE).min(end);
    }
    connection.as_mut().graceful_shutdown();
    if timeout_at(end, connection).await.is_err() {
        context.counts.cut.fetch_add(1, Ordering::Relaxed);
    }
}

/// One request's answer: the handler's, or why it was not asked or not waited for.
async fn answer<H, F>(
    request: HttpRequest<Incoming>,
    from: Facts,
    context: Arc<Context<H>>,
    shared: Arc<Shared>,
    ended: Arc<AtomicBool>,
    late: Late,
) -> Result<Response<ReplyBody>, Infallible>
where
    H: Fn(Request) -> F,
    F: Future<Output = Reply>,
{
    let (parts, incoming) = request.into_parts();
    if parts.method.as_str() == REFUSED {
        return Ok(refused(from, &context, &shared).into_response());
    }
    let body = RequestBody::under_way(incoming, Arc::clone(&ended));
    let mut handled = pin!((context.handler)(Request { parts, body, from, late: Arc::clone(&late) }));
    let reply = match timeout(context.limits.request, handled.as_mut()).await {
        Ok(reply) => reply,
        // What an operator has done to the store as a whole, a backup say, takes as long as the store is large.
        Err(_) if from.door == Door::Admin && ended.load(Ordering::Acquire) => handled.await,
        Err(_) => {
            context.counts.timed_out.fetch_add(1, Ordering::Relaxed);
            // Whose fault it is: the body was still to come, or all was there and we did not get to it.
            let all_there = ended.load(Ordering::Acquire);
            let problem = if all_there { Problem::Unavailable } else { Problem::RequestTimeout };
            // The connection ends with this answer, so that there is never a second one.
            let _ = late.set(problem.status());
            problem.into_reply().close()
        }
    };
    shared.streaming.store(reply.is_stream(), Ordering::Relaxed);
    // Where a body begins that nobody read, no next request can be found.
    let reply = if ended.load(Ordering::Acquire) { reply } else { reply.close() };
    Ok(reply.into_response())
}

fn refused<H>(from: Facts, context: &Context<H>, shared: &Shared) -> Reply {
    let Some(refusal) = shared.refusal.get() else { return Problem::Internal.into_reply().close() };
    // One that was turned away was counted as that, and never read.
    if *refusal != Refusal::Crowded {
        context.counts.refused.fetch_add(1, Ordering::Relaxed);
    }
    tracing::debug!(reason = refusal.name(), peer = ?from.peer, "a request was refused unread");
    refusal.problem().into_reply().close()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::server::{Connections, Crowd, Limits, Peer, TURNED_AWAY_KEPT};
    use hyper::StatusCode;
    use std::future::pending;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;
    use tokio::sync::{Notify, watch};
    use tokio::time::Duration;

    const FAR: Duration = Duration::from_mins(1);

    /// A server with nobody in it, whose handlers say that they have begun and never end.
    fn context<F>(
        stop: watch::Receiver<bool>,
        handler: impl Fn(Request) -> F,
    ) -> Arc<Context<impl Fn(Request) -> F>>
    where
        F: Future<Output = Reply>,
    {
        let limits = Limits {
            head_bytes_max: 1024,
            head: FAR,
            request: FAR,
            stall: FAR,
            drain: Duration::ZERO,
            connections_max: 1,
            memory_bytes: None,
        };
        Arc::new(Context {
            handler: Arc::new(handler),
            limits,
            counts: Arc::new(Connections::default()),
            protocol: protocol(limits.head_bytes_max),
            stop,
            public: Arc::new(Crowd::of(limits.connections_max)),
            admin: Arc::new(Crowd::of(1)),
            turned_away: Arc::new(Crowd::of(TURNED_AWAY_KEPT)),
        })
    }

    #[tokio::test]
    async fn one_that_asks_while_it_is_asked_to_leave_ends_with_the_drain_and_is_counted_as_cut() {
        let (stop, stopped) = watch::channel(false);
        let begun = Arc::new(Notify::new());
        let begins = Arc::clone(&begun);
        let context = context(stopped, move |_| {
            begins.notify_one();
            pending::<Reply>()
        });
        let place = context.public.seat(context.public.free().unwrap());
        let member = Arc::clone(&place.member);
        let (mut client, served) = UnixStream::pair().unwrap();
        let from = Facts { peer: Peer::Unix { uid: 0, pid: None }, door: Door::Public };
        let attending = tokio::spawn({
            let (context, member) = (Arc::clone(&context), Arc::clone(&member));
            async move { attend(Socket::Unix(served), from, context, &member, true).await }
        });
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        begun.notified().await;
        // It was idle when it was chosen, and its request came before it heard of that.
        member.idles();
        assert!(context.public.squeeze_in().await.is_none(), "it leaves, though it is being served");
        assert!(!attending.is_finished());
        stop.send(true).unwrap();
        timeout(FAR, attending).await.expect("it ends with the drain").unwrap();
        assert_eq!(context.counts.cut.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn so_many_are_told_at_once_that_there_are_too_many_and_no_more() {
        let (_stop, stopped) = watch::channel(false);
        let context = context(stopped, |_| async { Reply::empty(StatusCode::OK) });
        let told: Vec<_> = (0..TURNED_AWAY_KEPT).map(|_| context.turn_away()).collect();
        assert!(told.iter().all(Option::is_some));
        assert!(context.turn_away().is_none());
        drop(told);
        assert!(context.turn_away().is_some());
        let turned_away = u64::try_from(TURNED_AWAY_KEPT).unwrap() + 2;
        assert_eq!(context.counts.turned_away.load(Ordering::Relaxed), turned_away);
    }
}
