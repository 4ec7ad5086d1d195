//! The graph that ran: nodes with inputs that are values or links to other nodes' outputs.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Map, Value};

use crate::gallery::metadata::draft::text_of;

/// Most texts of one conditioning that are collected.
const MOST_TEXTS: usize = 16;
/// Most links that are followed to find where a number or a text comes from.
const MOST_HOPS: usize = 16;

/// Where nodes have the prompt of a text encoder, or a string.
const TEXTS: [&str; 8] = ["text", "text_g", "text_l", "t5xxl", "prompt", "populated_text", "string", "value"];

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    /// What kind of node it is: `KSampler`.
    pub(super) class: String,
    /// Its inputs: a value, or `["4", 0]`, which is output 0 of node 4.
    pub(super) inputs: Map<String, Value>,
}

impl Node {
    pub(super) fn has(&self, key: &str) -> bool {
        self.inputs.contains_key(key)
    }

    /// Id of the node that an input comes from.
    pub(super) fn link(&self, key: &str) -> Option<&str> {
        self.inputs.get(key).and_then(as_link).map(|(id, _)| id)
    }
}

/// What a conditioning comes from.
#[derive(Default)]
pub(super) struct Conditioning {
    /// Its prompts, the nearest first.
    pub(super) texts: Vec<String>,
    /// Nodes on the way that do more than encode a prompt, with what they say.
    pub(super) passed: Vec<(String, String)>,
}

/// Nodes by id, in the file's order.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<(String, Node)>,
    index: HashMap<String, usize>,
}

impl Graph {
    /// From the API's JSON: `{"3": {"class_type": "KSampler", "inputs": {…}}}`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // Python writes NaN where a node's state has one, and then no JSON parser reads any of it.
        let root: Map<String, Value> =
            serde_json::from_str(text)
                .or_else(|error| {
                    if text.contains("NaN") { serde_json::from_str(&without_nan(text)) } else { Err(error) }
                })
                .ok()?;
        let mut graph = Self::default();
        for (id, node) in root {
            if let Value::Object(mut node) = node
                && let Some(Value::String(class)) = node.shift_remove("class_type")
                && let Some(Value::Object(inputs)) = node.shift_remove("inputs")
            {
                graph.add(id, Node { class, inputs });
            }
        }
        (!graph.nodes.is_empty()).then_some(graph)
    }

    pub(super) fn add(&mut self, id: String, node: Node) {
        self.index.insert(id.clone(), self.nodes.len());
        self.nodes.push((id, node));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(id, node)| (id.as_str(), node))
    }

    pub(super) fn get(&self, id: &str) -> Option<&Node> {
        self.index.get(id).and_then(|at| self.nodes.get(*at)).map(|(_, node)| node)
    }

    /// The node that an input comes from.
    pub(super) fn linked(&self, node: &Node, key: &str) -> Option<&Node> {
        self.get(node.link(key)?)
    }

    /// Ids of `start` and of all nodes that it comes from over inputs that `follow` picks, the nearest first.
    pub(super) fn upstream<'a>(&'a self, start: &'a str, follow: impl Fn(&str) -> bool) -> Vec<&'a str> {
        let mut seen = HashSet::from([start]);
        let mut found = vec![start];
        let mut at = 0;
        while let Some(node) = found.get(at).map(|id| self.get(id)) {
            at += 1;
            let inputs = node.into_iter().flat_map(|node| &node.inputs).filter(|(key, _)| follow(key));
            found.extend(
                inputs.filter_map(|(_, value)| as_link(value)).map(|(id, _)| id).filter(|id| seen.insert(id)),
            );
        }
        found
    }

    /// An input's value as text, also when another node holds it.
    pub(super) fn scalar(&self, node: &Node, key: &str) -> Option<String> {
        let mut value = node.inputs.get(key)?;
        for _ in 0..MOST_HOPS {
            let Some((id, _)) = as_link(value) else { return text_of(value) };
            let inputs = &self.get(id)?.inputs;
            let keys = [key, "value", "seed", "int", "float", "number", "text", "string"];
            value = keys.iter().find_map(|key| inputs.get(*key))?;
        }
        None
    }

    /// The prompts behind the conditioning `key` of `node`.
    pub(super) fn conditioning(&self, node: &Node, key: &str) -> Conditioning {
        let mut found = Conditioning::default();
        let mut seen = HashSet::new();
        let mut queue: VecDeque<_> = node.inputs.get(key).and_then(as_link).into_iter().collect();
        while let Some((id, output)) = queue.pop_front() {
            if found.texts.len() == MOST_TEXTS || !seen.insert((id, output)) {
                continue;
            }
            // Zeroed out means no text at all.
            let Some(node) = self.get(id).filter(|node| node.class != "ConditioningZeroOut") else {
                continue;
            };
            let mut encoded = TEXTS.iter().filter_map(|key| self.scalar(node, key)).peekable();
            if encoded.peek().is_some() {
                found.texts.extend(encoded.filter(|text| !text.trim().is_empty()));
                continue;
            }
            // A node with both sides has the positive one first.
            let both = node.link("positive").is_some() && node.link("negative").is_some();
            let side = if output == 0 { "positive" } else { "negative" };
            let follow = |key: &str| if both { key == side } else { is_conditioning(key) };
            queue.extend(
                node.inputs.iter().filter(|(key, _)| follow(key)).filter_map(|(_, value)| as_link(value)),
            );
            if node.class != "Reroute" {
                let guidance = self.scalar(node, "guidance");
                found.passed.push(match guidance {
                    Some(guidance) => ("guidance".to_owned(), guidance),
                    None => ("conditioning".to_owned(), node.class.clone()),
                });
            }
        }
        found
    }
}

fn is_conditioning(key: &str) -> bool {
    key.is_empty() || ["cond", "positive", "negative"].iter().any(|start| key.starts_with(start))
}

fn as_link(value: &Value) -> Option<(&str, u64)> {
    match value.as_array()?.as_slice() {
        [Value::String(id), Value::Number(output)] => Some((id, output.as_u64()?)),
        _ => None,
    }
}

/// `null` for each `NaN` that stands as a value.
fn without_nan(text: &str) -> String {
    [": ", ":", "[", ", "]
        .iter()
        .fold(text.to_owned(), |text, before| text.replace(&format!("{before}NaN"), &format!("{before}null")))
}
