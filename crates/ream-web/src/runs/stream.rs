//! What happens in a run, as server-sent events.
//!
//! A run that is watched has one [`Channel`], filled by one thread however many watch. A channel does not keep a history:
//! it holds the newest value of every key (the state, each chart, each sample, ...) with a number that grows. A viewer is
//! sent the keys whose number is beyond the last one it has seen; one that reads slowly skips values, one that comes back
//! with `Last-Event-ID` gets what changed meanwhile. So a channel is bounded by what a run's page shows.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use ream_lab::figure::{Theme, render_svg};
use ream_lab::{RunDir, RunRecord};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::live::Live;
use super::manager::{Place, standing};
use super::seeds::lines;
use super::{CHART_WIDTH, open};
use crate::error::{Error, Result};
use crate::state::App;

/// How often a run's files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// How long a channel that nobody watches stays.
const LINGER: Duration = Duration::from_secs(20);
/// Streams at once, of all runs together.
const MOST_STREAMS: usize = 64;

/// All channels that someone watches, or did a moment ago.
#[derive(Default)]
pub(crate) struct Channels {
    open: Mutex<BTreeMap<String, Arc<Channel>>>,
    streams: Arc<AtomicUsize>,
    /// Tells this process's numbers from those of the one before.
    epochs: AtomicUsize,
}

/// The newest values of one run.
struct Channel {
    epoch: String,
    values: Mutex<Values>,
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Values {
    by_key: BTreeMap<String, Message>,
    ended: bool,
}

#[derive(Clone)]
struct Message {
    number: u64,
    kind: &'static str,
    data: Arc<str>,
}

impl Channel {
    fn new(epoch: String) -> Self {
        Self { epoch, values: Mutex::default(), newest: watch::Sender::new(0) }
    }

    /// Sets a key; the same value again is no news.
    fn set(&self, kind: &'static str, name: &str, value: &impl Serialize) {
        // Values are made of texts and finite numbers, which JSON holds.
        let Ok(data) = serde_json::to_string(value) else { return };
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{kind}:{name}");
        if values.by_key.get(&key).is_some_and(|old| *old.data == *data) {
            return;
        }
        let number = *self.newest.borrow() + 1;
        values.by_key.insert(key, Message { number, kind, data: data.into() });
        values.ended = kind == "end";
        drop(values);
        self.newest.send_replace(number);
    }

    /// Messages beyond a number, oldest first, and whether nothing will follow.
    fn beyond(&self, seen: u64) -> (Vec<Message>, bool) {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news: Vec<Message> = values.by_key.values().filter(|m| m.number > seen).cloned().collect();
        news.sort_by_key(|message| message.number);
        (news, values.ended)
    }
}

impl Channels {
    /// The channel of a run, opened and filled when nobody has watched so far, with a viewer's view of it.
    fn watch(&self, app: &App, dir: RunDir, record: RunRecord) -> (Arc<Channel>, watch::Receiver<u64>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended is still read by somebody; the run may have been resumed since.
        if let Some(channel) = open.get(&record.id).filter(|channel| !channel.beyond(u64::MAX).1) {
            return (Arc::clone(channel), channel.newest.subscribe());
        }
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed);
        let channel = Arc::new(Channel::new(format!("{}{epoch}", app.started)));
        let viewer = channel.newest.subscribe();
        open.insert(record.id.clone(), Arc::clone(&channel));
        let (app, filled) = (app.clone(), Arc::clone(&channel));
        std::thread::spawn(move || {
            fill(&app, &filled, &dir, &record);
            app.channels.close(&record.id, &filled);
        });
        (channel, viewer)
    }

    /// Forgets a channel.
    fn close(&self, id: &str, channel: &Arc<Channel>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(id).is_some_and(|other| Arc::ptr_eq(other, channel)) {
            open.remove(id);
        }
    }

    /// Forgets a channel that nobody watches; whether it has. Viewers come under the same lock, so none is left without
    /// news.
    fn close_unwatched(&self, id: &str, channel: &Arc<Channel>) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let unwatched = channel.newest.receiver_count() == 0;
        if unwatched {
            open.remove(id);
        }
        unwatched
    }

    /// A place for one more stream.
    fn place(&self) -> Result<StreamPlace> {
        let place = StreamPlace(Arc::clone(&self.streams));
        if place.0.fetch_add(1, Ordering::Relaxed) >= MOST_STREAMS {
            return Err(Error::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_streams",
                format!(
                    "{MOST_STREAMS} pages watch runs already; close some, or reload this page to see how the run stands."
                ),
            ));
        }
        Ok(place)
    }
}

/// Gives its place back when it goes.
struct StreamPlace(Arc<AtomicUsize>);

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Looks at a run until it has ended, or nobody has watched it for a while: one who comes back soon finds the same channel.
fn fill(app: &App, channel: &Arc<Channel>, dir: &RunDir, record: &RunRecord) {
    let mut live = Live::new(dir.clone(), record);
    let mut watched = Instant::now();
    loop {
        let place = app.manager.place(&record.id);
        // A damaged run has nothing more to tell; its page says what is wrong.
        let Ok((word, finished)) = standing(&place, dir, record) else { break };
        let ended = matches!(word, "finished" | "failed" | "unfinished") && place == Place::Elsewhere;
        while live.advance() {}
        if let Ok(ended) = ream_lab::state(dir, record) {
            channel.set("seeds", "", &lines(record, &ended, &live.steps(), &place));
        }
        tell(channel, &live, dir, &Progress::new(&place, word, finished, record, &live));
        if ended {
            channel.set("end", "", &json!({ "state": word }));
            return;
        }
        if channel.newest.receiver_count() > 0 {
            watched = Instant::now();
        } else if watched.elapsed() > LINGER && app.channels.close_unwatched(&record.id, channel) {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    channel.set("end", "", &json!({ "state": "unfinished" }));
}

/// How far a run is, in numbers and in words.
#[derive(Serialize)]
pub(super) struct Progress {
    /// `queued`, `running`, `stopping`, `finished`, `failed`, `unfinished`.
    pub(super) state: &'static str,
    /// Share of all seeds' work that is done, 0..=1.
    pub(super) fraction: f64,
    /// The same and the time left, in words.
    pub(super) words: String,
}

impl Progress {
    pub(super) fn new(
        place: &Place,
        word: &'static str,
        finished: usize,
        record: &RunRecord,
        live: &Live,
    ) -> Self {
        let seeds = record.seeds.len().max(1);
        let steps = live.steps();
        let told: f64 = steps.values().map(|step| step.fraction).sum::<f64>() / seeds as f64;
        let progress = match place {
            Place::Driven { progress, .. } => progress.as_ref(),
            Place::Waiting(_) | Place::Elsewhere => None,
        };
        let fraction =
            progress.map_or(told, |p| p.fraction).max(finished as f64 / seeds as f64).clamp(0.0, 1.0);
        let mut words = match place {
            Place::Waiting(0) => "next in the queue".to_owned(),
            Place::Waiting(n) => format!("{n} before it in the queue"),
            _ => format!("{finished} of {seeds} seeds finished"),
        };
        if let Some(progress) = progress {
            if !progress.what.is_empty() {
                words += &format!(" · {}", progress.what);
            }
            if let Some(left) = progress.left {
                words += &format!(" · about {} left", ream_lab::time::span(left));
            }
        }
        Self { state: word, fraction, words }
    }
}

fn tell(channel: &Channel, live: &Live, dir: &RunDir, state: &Progress) {
    channel.set("state", "", state);
    for chart in live.charts() {
        if let Ok(svg) = render_svg(&chart, Theme::Page, CHART_WIDTH) {
            channel.set("chart", &chart.title, &json!({ "name": chart.title, "svg": svg }));
        }
    }
    for (seed, title, text) in live.samples() {
        let name = format!("{seed} {title}");
        channel.set("sample", &name, &json!({ "seed": seed, "title": title, "text": text }));
    }
    for (name, seed) in live.figures() {
        // Half-written figures do not exist: they are renamed into place. One that is gone is left out.
        if let Ok(figure) = dir.figure(seed, name)
            && let Ok(svg) = render_svg(&figure, Theme::Page, 760.0)
        {
            channel.set("figure", name, &json!({ "name": name, "svg": svg }));
        }
    }
    channel.set("warnings", "", &live.warnings());
}

/// `GET /runs/{id}/events`
pub(super) async fn events(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let (dir, record) = open(&app, &id)?;
    let place = app.channels.place()?;
    let (channel, newest) = app.channels.watch(&app, dir, record);
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    // A number of another process says nothing about ours.
    let seen =
        last.and_then(|id| id.strip_prefix(&channel.epoch)?.strip_prefix('-')?.parse().ok()).unwrap_or(0);
    let stream = follow(channel, newest, seen, place).take_until(Box::pin(app.stopping()));
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    let mut response = Sse::new(stream).keep_alive(keep_alive).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What a channel holds beyond `seen`, and then what comes, until it ends.
fn follow(
    channel: Arc<Channel>,
    newest: watch::Receiver<u64>,
    seen: u64,
    place: StreamPlace,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let start = (channel, newest, seen, Vec::<Message>::new(), false, place);
    stream::unfold(start, |(channel, mut newest, mut seen, mut news, mut ended, place)| async move {
        while news.is_empty() {
            if ended {
                return None;
            }
            newest.mark_unchanged();
            (news, ended) = channel.beyond(seen);
            news.reverse();
            if news.is_empty() && !ended {
                newest.changed().await.ok()?;
            }
        }
        let message = news.pop()?;
        seen = message.number;
        let event = Event::default()
            .event(message.kind)
            .id(format!("{}-{}", channel.epoch, message.number))
            .data(&*message.data);
        Some((Ok(event), (channel, newest, seen, news, ended, place)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn numbers(channel: &Arc<Channel>, seen: u64, take: usize) -> Vec<u64> {
        let place = Channels::default().place().unwrap();
        let before = channel.beyond(seen).0;
        let got: Vec<_> =
            follow(Arc::clone(channel), channel.newest.subscribe(), seen, place).take(take).collect().await;
        assert_eq!(got.len(), take.min(before.len()));
        before.iter().map(|m| m.number).collect()
    }

    #[tokio::test]
    async fn a_viewer_gets_the_newest_of_every_key_it_has_not_seen() {
        let channel = Arc::new(Channel::new("e".into()));
        channel.set("chart", "a", &1);
        channel.set("chart", "b", &1);
        channel.set("chart", "a", &2);
        channel.set("chart", "b", &1);
        assert_eq!(
            numbers(&channel, 0, 2).await,
            [2, 3],
            "one that comes late skips old values; no news is none"
        );
        assert_eq!(numbers(&channel, 2, 1).await, [3], "one that comes back gets what is new");
        channel.set("end", "", &0);
        assert_eq!(numbers(&channel, 3, 9).await, [4], "and the stream ends");
        assert!(numbers(&channel, 4, 9).await.is_empty());
    }

    #[test]
    fn streams_are_limited_and_give_their_place_back() {
        let channels = Channels::default();
        let mut places: Vec<_> = (0..MOST_STREAMS).map(|_| channels.place().unwrap()).collect();
        assert!(channels.place().is_err());
        places.pop();
        assert!(channels.place().is_ok());
    }
}
