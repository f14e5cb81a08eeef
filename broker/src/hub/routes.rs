use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use super::SubscriberKey;
use crate::log::StoredId;
use keygate_protocol::mqtt::{Qos, SubscriptionId};

/// Seeds a hash table: SipHash-1-3, as the standard library's, but with a key that is an argument, so that the harness
/// repeats and an attacker cannot guess.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashSeed(pub(crate) [u8; 16]);

impl BuildHasher for HashSeed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

impl HashSeed {
    /// The keyed hash of one string.
    pub(crate) fn hash(&self, text: &str) -> u64 {
        let mut hasher = self.build_hasher();
        hasher.write(text.as_bytes());
        hasher.finish()
    }
}

type LevelId = u32;
type NodeId = u32;

/// Levels of the deepest filter: the range of the limit `topic_levels` ends there.
const LEVELS_MAX: usize = 32;

/// What is left of a topic: its levels, `NONE` for names that no filter has.
#[derive(Clone, Copy, Debug)]
struct Path<'l> {
    levels: &'l [LevelId],
    /// The topic ends with the last of them. A deeper one matches only what ends in `#`.
    is_whole: bool,
}

const ROOT: NodeId = 0;
const NONE: u32 = u32::MAX;

/// Who subscribes to what, for all shards: a table of the filters without wildcards, and for the others one trie of
/// interned levels with one table of edges.
///
/// A topic is looked up in the table as a whole, and matched by walking its levels in the trie: at each node the child of
/// the same name, the child of `+` and the subscribers of `#`. The cost depends on the topic's levels and on the
/// wildcards that fit it, never on the number of subscribers elsewhere.
#[derive(Debug)]
pub(crate) struct Routes {
    /// Filters without wildcards. One look-up each; in the trie, every level of every topic would be a way through
    /// memory of its own, which among 100,000 filters no cache holds.
    exact: HashMap<Box<str>, Subscribers, HashSeed>,
    levels: HashMap<Arc<str>, Level, HashSeed>,
    names: Vec<Arc<str>>,
    free_levels: Vec<LevelId>,
    edges: HashMap<(NodeId, LevelId), NodeId, HashSeed>,
    nodes: Vec<Node>,
    free_nodes: Vec<NodeId>,
    subscriptions: usize,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    id: LevelId,
    uses: u32,
}

#[derive(Debug)]
struct Node {
    parent: NodeId,
    /// The level by which the parent leads here; `NONE` for the parent's `+`.
    level: LevelId,
    /// Children by name, and `+`.
    children: u32,
    /// The child of `+`.
    plus: NodeId,
    /// Subscribers whose filter ends here.
    here: Subscribers,
    /// Subscribers whose filter ends here with a `#` behind it.
    below: Subscribers,
}

/// Most filters have one subscriber: no list for it.
#[derive(Debug, Default)]
enum Subscribers {
    #[default]
    None,
    One(Subscriber),
    #[expect(
        clippy::box_collection,
        reason = "a node in a million has a list: the pointer keeps the others small"
    )]
    Many(Box<Vec<Subscriber>>),
}

/// One subscription as the trie knows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Subscriber {
    pub(crate) key: SubscriberKey,
    pub(crate) options: Options,
    /// Its identifier.
    pub(crate) id: Option<SubscriptionId>,
    /// The row of its queue; zero if what it gets need not survive.
    pub(crate) stored: StoredId,
}

/// What a subscription asks for, in one byte (MQTT 5 §3.8.3.1): QoS, No Local, Retain As Published.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Options(u8);

impl Options {
    pub(crate) fn new(qos: Qos, no_local: bool, retain_as_published: bool) -> Self {
        Self(qos.level() | u8::from(no_local) << 2 | u8::from(retain_as_published) << 3)
    }

    pub(crate) fn qos(self) -> Qos {
        Qos::new(self.0 & 3).unwrap_or_default()
    }

    pub(crate) fn no_local(self) -> bool {
        self.0 & 4 != 0
    }

    pub(crate) fn retain_as_published(self) -> bool {
        self.0 & 8 != 0
    }

    /// The byte, for the store.
    pub(crate) fn to_byte(self) -> u8 {
        self.0
    }

    /// The options that the store kept.
    pub(crate) fn of_byte(byte: u8) -> Self {
        Self(byte & 0b1111)
    }
}

impl Routes {
    pub(crate) fn new(seed: HashSeed) -> Self {
        Self {
            exact: HashMap::with_hasher(seed),
            levels: HashMap::with_hasher(seed),
            names: Vec::new(),
            free_levels: Vec::new(),
            edges: HashMap::with_hasher(seed),
            nodes: vec![Node::child_of(ROOT, NONE)],
            free_nodes: Vec::new(),
            subscriptions: 0,
        }
    }

    /// Subscriptions in all.
    pub(crate) fn len(&self) -> usize {
        self.subscriptions
    }

    /// Adds a subscription, or replaces the options of the one that this subscriber has to this filter.
    pub(crate) fn insert(&mut self, filter: &str, subscriber: Subscriber) {
        let is_new = if has_wildcard(filter) {
            self.branch(filter).insert(subscriber)
        } else if let Some(subscribers) = self.exact.get_mut(filter) {
            subscribers.insert(subscriber)
        } else {
            let one = Subscribers::One(subscriber);
            self.exact.insert(filter.into(), one).is_none()
        };
        self.subscriptions += usize::from(is_new);
    }

    /// Where the trie keeps the subscribers of a filter.
    fn branch(&mut self, filter: &str) -> &mut Subscribers {
        let (path, hash) = split_hash(filter);
        let mut node = ROOT;
        for level in path.into_iter().flat_map(|path| path.split('/')) {
            node = self.child(node, level);
        }
        self.nodes[node as usize].list(hash)
    }

    /// Removes a subscription and the branch that only it needed. Says whether there was one.
    pub(crate) fn remove(&mut self, filter: &str, key: SubscriberKey) -> bool {
        let removed = match has_wildcard(filter) {
            true => self.remove_branch(filter, key),
            false => self.remove_exact(filter, key),
        };
        self.subscriptions -= usize::from(removed);
        removed
    }

    fn remove_exact(&mut self, filter: &str, key: SubscriberKey) -> bool {
        let Some(subscribers) = self.exact.get_mut(filter) else {
            return false;
        };
        let removed = subscribers.remove(key);
        if matches!(subscribers, Subscribers::None) {
            self.exact.remove(filter);
        }
        removed
    }

    fn remove_branch(&mut self, filter: &str, key: SubscriberKey) -> bool {
        let (path, hash) = split_hash(filter);
        let mut node = ROOT;
        for level in path.into_iter().flat_map(|path| path.split('/')) {
            match self.find(node, level) {
                Some(child) => node = child,
                None => return false,
            }
        }
        let removed = self.nodes[node as usize].list(hash).remove(key);
        if removed {
            self.prune(node);
        }
        removed
    }

    /// Puts every subscription that matches the topic into `found`, ordered by key: those of one session stand together.
    pub(crate) fn matches(&self, topic: &str, found: &mut Vec<Subscriber>) {
        found.clear();
        if let Some(subscribers) = self.exact.get(topic) {
            subscribers.extend(found);
        }
        self.walk_all(topic, found);
        found.sort_unstable_by_key(|subscriber| subscriber.key);
    }

    /// The subscribers by wildcard.
    fn walk_all(&self, topic: &str, found: &mut Vec<Subscriber>) {
        // Filters that begin with a wildcard do not match topics that begin with `$` (MQTT 5 §4.7.2).
        let system = topic.starts_with('$');
        if !system {
            self.nodes[ROOT as usize].below.extend(found);
        }
        if self.nodes[ROOT as usize].children == 0 {
            return;
        }
        // Names are looked up once each, not at every node that the walk comes to.
        let mut levels = [NONE; LEVELS_MAX];
        let mut names = topic.split('/');
        let mut count = 0;
        for (level, name) in levels.iter_mut().zip(&mut names) {
            *level = self.levels.get(name).map_or(NONE, |level| level.id);
            count += 1;
        }
        let path = Path {
            levels: levels.get(..count).unwrap_or_default(),
            is_whole: names.next().is_none(),
        };
        self.walk(ROOT, path, system, found);
    }

    fn walk(&self, node: NodeId, path: Path<'_>, system_root: bool, found: &mut Vec<Subscriber>) {
        let Some((&level, rest)) = path.levels.split_first() else {
            return;
        };
        let here = &self.nodes[node as usize];
        let has_plus = here.plus != NONE;
        let is_named = level != NONE && here.children > u32::from(has_plus);
        let named = is_named.then(|| self.edges.get(&(node, level)).copied());
        let plus = (has_plus && !system_root).then_some(here.plus);
        for child in named.flatten().into_iter().chain(plus) {
            let child_node = &self.nodes[child as usize];
            // `a/#` matches `a` itself as well (MQTT 5 §4.7.1.2).
            child_node.below.extend(found);
            if !rest.is_empty() {
                let path = Path {
                    levels: rest,
                    ..path
                };
                self.walk(child, path, false, found);
            } else if path.is_whole {
                child_node.here.extend(found);
            }
        }
    }

    fn find(&self, node: NodeId, level: &str) -> Option<NodeId> {
        if level == "+" {
            return Some(self.nodes[node as usize].plus).filter(|&plus| plus != NONE);
        }
        let level = self.levels.get(level)?;
        self.edges.get(&(node, level.id)).copied()
    }

    fn child(&mut self, node: NodeId, level: &str) -> NodeId {
        if let Some(child) = self.find(node, level) {
            return child;
        }
        let level_id = if level == "+" {
            NONE
        } else {
            self.intern(level)
        };
        let fresh = Node::child_of(node, level_id);
        let child = match self.free_nodes.pop() {
            Some(free) => {
                self.nodes[free as usize] = fresh;
                free
            }
            None => {
                self.nodes.push(fresh);
                (self.nodes.len() - 1) as NodeId
            }
        };
        let parent = &mut self.nodes[node as usize];
        parent.children += 1;
        if level_id == NONE {
            parent.plus = child;
        } else {
            self.edges.insert((node, level_id), child);
        }
        child
    }

    fn prune(&mut self, mut node: NodeId) {
        while node != ROOT && self.nodes[node as usize].is_unused() {
            let Node { parent, level, .. } = self.nodes[node as usize];
            if level == NONE {
                self.nodes[parent as usize].plus = NONE;
            } else {
                self.edges.remove(&(parent, level));
                self.release(level);
            }
            self.nodes[parent as usize].children -= 1;
            self.free_nodes.push(node);
            node = parent;
        }
    }

    fn intern(&mut self, name: &str) -> LevelId {
        if let Some(level) = self.levels.get_mut(name) {
            level.uses += 1;
            return level.id;
        }
        let name: Arc<str> = name.into();
        let id = match self.free_levels.pop() {
            Some(free) => {
                self.names[free as usize] = Arc::clone(&name);
                free
            }
            None => {
                self.names.push(Arc::clone(&name));
                (self.names.len() - 1) as LevelId
            }
        };
        self.levels.insert(name, Level { id, uses: 1 });
        id
    }

    fn release(&mut self, id: LevelId) {
        let name = &self.names[id as usize];
        if let Some(level) = self.levels.get_mut(name) {
            level.uses -= 1;
            if level.uses == 0 {
                self.levels.remove(name);
                self.names[id as usize] = Arc::from("");
                self.free_levels.push(id);
            }
        }
    }
}

impl Node {
    fn child_of(parent: NodeId, level: LevelId) -> Self {
        Self {
            parent,
            level,
            children: 0,
            plus: NONE,
            here: Subscribers::None,
            below: Subscribers::None,
        }
    }

    fn list(&mut self, hash: bool) -> &mut Subscribers {
        if hash {
            &mut self.below
        } else {
            &mut self.here
        }
    }

    fn is_unused(&self) -> bool {
        self.children == 0
            && matches!(self.here, Subscribers::None)
            && matches!(self.below, Subscribers::None)
    }
}

impl Subscribers {
    /// Says whether the subscriber is new here.
    fn insert(&mut self, subscriber: Subscriber) -> bool {
        match self {
            Self::None => *self = Self::One(subscriber),
            Self::One(one) if one.key == subscriber.key => {
                *one = subscriber;
                return false;
            }
            Self::One(one) => *self = Self::Many(Box::new(vec![*one, subscriber])),
            Self::Many(many) => match many.binary_search_by_key(&subscriber.key, |s| s.key) {
                Ok(at) => {
                    many[at] = subscriber;
                    return false;
                }
                Err(at) => many.insert(at, subscriber),
            },
        }
        if let Self::Many(many) = self
            && many.len() == 2
        {
            many.sort_unstable_by_key(|s| s.key);
        }
        true
    }

    fn remove(&mut self, key: SubscriberKey) -> bool {
        match self {
            Self::One(one) if one.key == key => *self = Self::None,
            Self::Many(many) => {
                let Ok(at) = many.binary_search_by_key(&key, |s| s.key) else {
                    return false;
                };
                many.remove(at);
                if let [last] = many[..] {
                    *self = Self::One(last);
                }
            }
            Self::None | Self::One(_) => return false,
        }
        true
    }

    fn extend(&self, found: &mut Vec<Subscriber>) {
        match self {
            Self::None => {}
            Self::One(one) => found.push(*one),
            Self::Many(many) => found.extend_from_slice(many),
        }
    }
}

fn has_wildcard(filter: &str) -> bool {
    filter.ends_with('#') || filter.split('/').any(|level| level == "+")
}

/// A filter without its trailing `#`, and whether it had one. `#` alone has no path.
fn split_hash(filter: &str) -> (Option<&str>, bool) {
    match filter.strip_suffix('#') {
        Some("") => (None, true),
        Some(path) => (path.strip_suffix('/'), true),
        None => (Some(filter), false),
    }
}

#[cfg(test)]
mod tests;
