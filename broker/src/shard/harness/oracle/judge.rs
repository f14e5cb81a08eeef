//! Who must, and who may, have received what: MQTT's rules about a history, one message and one session at a time.
use std::collections::{BTreeMap, BTreeSet};

use super::history::{Came, History, Message, Moment, NEVER, Session, Snapshot, Span, Stand};
use keygate_protocol::mqtt::{Qos, Version};
use keygate_protocol::topic::{self, TopicFilter, TopicName};

/// What a delivery looks like.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Look {
    qos: Qos,
    retain: bool,
    ids: BTreeSet<u32>,
}

/// Judges everything that has happened. `reads(client)` says whether a client is connected and answers everything: at
/// rest it has what it must have.
pub(super) fn judge(history: &History, reads: impl Fn(usize) -> bool) {
    let filters: BTreeSet<&str> = history
        .sessions
        .iter()
        .flat_map(|session| &session.stands)
        .map(|stand| stand.filter)
        .filter(|filter| filter.starts_with("$share/"))
        .collect();
    for (index, message) in history.messages.iter().enumerate() {
        if message.draft.payload.is_empty() {
            continue;
        }
        for session in &history.sessions {
            let current = history.session_of(session.client);
            let is_current = current.is_some_and(|at| std::ptr::eq(&history.sessions[at], session));
            judge_plain(history, session, index, is_current && reads(session.client));
        }
        for filter in &filters {
            judge_group(history, filter, index, &reads);
        }
    }
    for session in &history.sessions {
        judge_order(history, session);
    }
}

fn matches(filter: &str, topic: &str) -> bool {
    let filter = TopicFilter::new(filter).unwrap();
    topic::matches(filter.plain(), TopicName::new(topic).unwrap())
}

fn is_shared(stand: &Stand) -> bool {
    stand.filter.starts_with("$share/")
}

fn is_sure(stand: &Stand, span: &Span) -> bool {
    stand.sure < span.from && stand.fades > span.to
}

fn is_possible(stand: &Stand, span: &Span) -> bool {
    stand.sent <= span.to && stand.gone >= span.from
}

/// What one session gets of one message by its subscriptions that are not shared: every way it may look, and whether it
/// surely gets it. One copy, with the highest QoS of all matching subscriptions and all their identifiers.
fn live(session: &Session, message: &Message, span: &Span) -> (Vec<Look>, bool) {
    let own = message.publisher == session.client;
    let mut choices: BTreeMap<&str, Vec<Option<&Stand>>> = BTreeMap::new();
    let mut sure = false;
    for stand in &session.stands {
        let fits = !is_shared(stand) && matches(stand.filter, message.draft.topic);
        let silent = own && stand.options.no_local;
        if !fits || !is_possible(stand, span) || (silent && !message.is_will) {
            continue;
        }
        // Whether a will is a client's own message is not said.
        let is_sure = is_sure(stand, span) && !silent;
        sure |= is_sure && stand.unsubscribed == NEVER;
        let of_filter = choices.entry(stand.filter).or_default();
        if !is_sure && of_filter.is_empty() {
            of_filter.push(None);
        }
        of_filter.push(Some(stand));
    }
    let mut subsets: Vec<Vec<&Stand>> = vec![Vec::new()];
    for of_filter in choices.values() {
        subsets = subsets
            .iter()
            .flat_map(|subset| {
                of_filter
                    .iter()
                    .map(|choice| subset.iter().copied().chain(*choice).collect())
            })
            .collect();
    }
    let look = |subset: &Vec<&Stand>| {
        let highest = subset.iter().map(|stand| stand.options.qos).max()?;
        Some(Look {
            qos: message.draft.qos.min(highest),
            retain: message.draft.retain && subset.iter().any(|s| s.options.retain_as_published),
            ids: subset.iter().filter_map(|stand| stand.id).collect(),
        })
    };
    (subsets.iter().filter_map(look).collect(), sure)
}

/// Whether the message may be what a SUBSCRIBE gets as the retained message of its topic.
fn may_be_retained(history: &History, stand: &Stand, message: &Message) -> bool {
    let draft = &message.draft;
    let last = message.effects.iter().map(|effect| effect.to).max();
    let replaced = |other: &Message| {
        let later =
            |effect: &Span| effect.sure && Some(effect.from) > last && effect.to <= stand.sent;
        other.draft.retain && other.draft.topic == draft.topic && other.effects.iter().any(later)
    };
    stand.snapshot != Snapshot::No
        && draft.retain
        && matches(stand.filter, draft.topic)
        && first(message) <= stand.sure
        && !history.messages.iter().any(replaced)
}

fn first(message: &Message) -> Moment {
    let moments = message.effects.iter().map(|effect| effect.from);
    moments.min().unwrap_or(NEVER)
}

/// Whether a SUBSCRIBE must have brought the message as the retained one of its topic by now.
fn must_be_retained(
    history: &History,
    session: &Session,
    stand: &Stand,
    message: &Message,
) -> bool {
    let Some(effect) = message.effects.last().filter(|effect| effect.sure) else {
        return false;
    };
    let rival = |other: &Message| {
        let last = other.effects.iter().map(|effect| effect.to).max();
        !std::ptr::eq(other, message)
            && other.draft.retain
            && other.draft.topic == message.draft.topic
            && last >= Some(first(message))
    };
    let own = message.publisher == session.client && stand.options.no_local;
    let at_most_once = message.draft.qos.min(stand.options.qos) == Qos::AtMostOnce;
    stand.snapshot == Snapshot::Yes
        && stand.sure != NEVER
        && stand.fades == NEVER
        && !own
        && may_be_retained(history, stand, message)
        && effect.to <= stand.sent
        && !history.messages.iter().any(rival)
        && (!at_most_once || history.was_connected(session.client, stand.sent, history.now))
}

/// Whether the message may be worth nothing by now.
fn may_have_expired(history: &History, message: &Message) -> bool {
    message.draft.expiry_s.is_some_and(|expiry_s| {
        let end_ms = message.sent_ms + u64::from(expiry_s) * 1_000;
        history.ms + 2_000 >= end_ms
    })
}

fn judge_plain(history: &History, session: &Session, index: usize, reads: bool) {
    let message = &history.messages[index];
    if matches("$share/g/s/+", message.draft.topic) {
        return;
    }
    let mut looks = Vec::new();
    let mut times = 0;
    let mut must = 0;
    for effect in &message.effects {
        let (of_effect, _) = live(session, message, effect);
        times += usize::from(!of_effect.is_empty());
        looks.extend(of_effect);
    }
    if let Some(effect) = message.effects.last().filter(|effect| effect.sure) {
        let (of_effect, sure) = live(session, message, effect);
        let at_most_once = of_effect.iter().any(|look| look.qos == Qos::AtMostOnce);
        let heard =
            !at_most_once || history.was_connected(session.client, effect.from, history.now);
        must += usize::from(sure && heard);
    }
    for stand in &session.stands {
        if may_be_retained(history, stand, message) {
            times += 1;
            looks.push(Look {
                qos: message.draft.qos.min(stand.options.qos),
                retain: true,
                ids: stand.id.into_iter().collect(),
            });
            must += usize::from(must_be_retained(history, session, stand, message));
        }
    }
    let copies: Vec<&Came> = session
        .copies
        .iter()
        .filter(|came| came.message == index)
        .collect();
    let v5 = history.version(session.client) == Version::V5;
    for came in &copies {
        judge_copy(came, message, &looks, v5);
    }
    let about = || {
        format!(
            "m{index} {message:?}\nat client {} ({:?}): {copies:?}\nstands {:#?}",
            session.client, session.starts, session.stands
        )
    };
    let fresh = copies.iter().filter(|came| !came.copy.dup).count();
    let again = session.starts.len() + session.crashes.len();
    let exactly_once = looks.iter().all(|look| look.qos == Qos::ExactlyOnce);
    let crashes = session.crashes.len();
    // What the client has forgotten may come again if a crash brings its session back.
    let exactly_once = exactly_once && !session.was_in_doubt;
    let fresh_max = if exactly_once {
        times
    } else {
        times * (1 + crashes)
    };
    let all_max = if exactly_once { times } else { times * again };
    assert!(
        fresh <= fresh_max && copies.len() <= all_max,
        "too often: {}",
        about()
    );
    if reads && !session.was_in_doubt && !may_have_expired(history, message) {
        assert!(copies.len() >= must, "{must} must be there: {}", about());
    }
}

/// One copy looks as it may, and came in time.
fn judge_copy(came: &Came, message: &Message, looks: &[Look], v5: bool) {
    let copy = &came.copy;
    let fits = looks.iter().any(|look| {
        look.qos == copy.qos && look.retain == copy.retain && (!v5 || look.ids == copy.ids)
    });
    assert!(fits, "{copy:?} of {message:?} is none of {looks:?}");
    assert!(!copy.dup || copy.qos != Qos::AtMostOnce, "{copy:?}");
    let Some(expiry_s) = message.draft.expiry_s else {
        assert_eq!(copy.expiry_s, None, "{copy:?}");
        return;
    };
    let waited_s = came.ms.saturating_sub(message.sent_ms) / 1_000;
    assert!(
        copy.dup || waited_s <= u64::from(expiry_s) + 2,
        "{copy:?} came {waited_s} s late"
    );
    if v5 {
        let left_s = copy.expiry_s.expect("it expires");
        assert!(left_s <= expiry_s, "{copy:?}");
        let waited_s = came.ms.saturating_sub(message.first_ms) / 1_000;
        let late = u64::from(left_s) + waited_s + 2 < u64::from(expiry_s);
        assert!(!late, "{copy:?} has lost time");
    }
}

/// A message of a shared filter goes to one member.
fn judge_group(history: &History, filter: &str, index: usize, reads: impl Fn(usize) -> bool) {
    let message = &history.messages[index];
    if !matches(filter, message.draft.topic) {
        return;
    }
    let always = Span {
        from: first(message),
        to: NEVER - 1,
        sure: false,
    };
    let mut members: Vec<(&Session, &Stand)> = Vec::new();
    let mut copies: Vec<(&Session, &Came)> = Vec::new();
    for session in &history.sessions {
        let stands = session.stands.iter().filter(|stand| stand.filter == filter);
        let of_session: Vec<&Stand> = stands.filter(|s| is_possible(s, &always)).collect();
        members.extend(of_session.iter().map(|stand| (session, *stand)));
        let v5 = history.version(session.client) == Version::V5;
        for came in session.copies.iter().filter(|came| came.message == index) {
            // Those of version 5 name the group by its identifier; those of version 3.1.1 are in one group only.
            let mine = match v5 {
                true => came.copy.ids == BTreeSet::from([super::program::id_of(filter)]),
                false => session.stands.iter().any(|stand| stand.filter == filter),
            };
            if mine {
                let mut looks: Vec<Look> = of_session.iter().map(|s| look(message, s)).collect();
                // The row of a QoS 2 message is the group's: it does not know the options of its member.
                if !session.crashes.is_empty() && came.copy.dup {
                    looks.extend(looks.clone().into_iter().map(|look| Look {
                        retain: message.draft.retain,
                        ..look
                    }));
                }
                judge_copy(came, message, &looks, v5);
                copies.push((session, came));
            }
        }
    }
    let about = || format!("{filter}: m{index} {message:?}\n{copies:#?}\n{members:#?}");
    // A copy may be followed by another if its member was lost before it acknowledged it.
    let lost = |(session, came): &&(&Session, &Came)| {
        came.copy.qos == Qos::AtLeastOnce
            && (history.lost_connection(session.client, came.at, history.now)
                || session.crashes.iter().any(|crash| *crash >= came.at))
    };
    let excess = copies.iter().filter(lost).count();
    assert!(
        copies.len() <= message.effects.len() + excess,
        "too often: {}",
        about()
    );
    let Some(effect) = message.effects.last().filter(|effect| effect.sure) else {
        return;
    };
    let since = Span {
        to: history.now,
        ..*effect
    };
    let stays = |stand: &Stand| is_sure(stand, &since) && stand.unsubscribed == NEVER;
    let at_most_once = message.draft.qos == Qos::AtMostOnce
        || members
            .iter()
            .any(|(_, s)| s.options.qos == Qos::AtMostOnce);
    let exactly_once = message.draft.qos == Qos::ExactlyOnce;
    let must = members.iter().any(|(_, stand)| stays(stand))
        && members.iter().all(|(session, stand)| {
            // QoS 0 may be lost with a connection, sent QoS 2 with a session.
            let steady = history.was_connected(session.client, effect.from, history.now);
            (stand.gone < effect.from || reads(session.client))
                && (!at_most_once || steady)
                && (!exactly_once || (stays(stand) && session.crashes.is_empty()))
        });
    if must && !may_have_expired(history, message) {
        assert!(!copies.is_empty(), "nobody has it: {}", about());
    }
}

fn look(message: &Message, stand: &Stand) -> Look {
    Look {
        qos: message.draft.qos.min(stand.options.qos),
        retain: message.draft.retain && stand.options.retain_as_published,
        ids: stand.id.into_iter().collect(),
    }
}

/// Messages of one client to one topic at one QoS come in the order in which they were sent (§4.6). What may have come
/// as a retained message, or back from another member of a group, has no place in it.
fn judge_order(history: &History, session: &Session) {
    let mut last: BTreeMap<(usize, &str, Qos, Qos), usize> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for came in &session.copies {
        let message = &history.messages[came.message];
        let retained = session
            .stands
            .iter()
            .any(|stand| may_be_retained(history, stand, message));
        let shared = matches("$share/g/s/+", message.draft.topic);
        // What was sent twice may have been heard the second time only.
        let twice = message.effects.len() > 1;
        if retained || shared || message.is_will || twice || !known.insert(came.message) {
            continue;
        }
        let draft = &message.draft;
        let line = (message.publisher, draft.topic, draft.qos, came.copy.qos);
        let before = last.insert(line, came.message);
        assert!(
            before.is_none_or(|before| before < came.message),
            "{:?} came after a later one of its publisher, at client {}",
            message,
            session.client
        );
    }
}
