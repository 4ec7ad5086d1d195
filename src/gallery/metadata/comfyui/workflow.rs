//! The graph as the editor has it: values without names, in the order of each kind of node's widgets.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::graph::{Graph, Node};

/// Widgets of the nodes that a recipe is read from, as ComfyUI's `nodes.py` and `comfy_extras/nodes_custom_sampler.py`
/// declare them; the editor adds `control_after_generate` behind each seed.
const WIDGETS: &[(&str, &[&str])] = &[
    ("KSampler", &["seed", "control", "steps", "cfg", "sampler_name", "scheduler", "denoise"]),
    (
        "KSamplerAdvanced",
        &["add_noise", "noise_seed", "control", "steps", "cfg", "sampler_name", "scheduler"],
    ),
    ("SamplerCustom", &["add_noise", "noise_seed", "control", "cfg"]),
    ("RandomNoise", &["noise_seed", "control"]),
    ("KSamplerSelect", &["sampler_name"]),
    ("BasicScheduler", &["scheduler", "steps", "denoise"]),
    ("SDTurboScheduler", &["steps", "denoise"]),
    ("KarrasScheduler", &["steps"]),
    ("ExponentialScheduler", &["steps"]),
    ("CFGGuider", &["cfg"]),
    ("FluxGuidance", &["guidance"]),
    ("CLIPTextEncode", &["text"]),
    (
        "CLIPTextEncodeSDXL",
        &["width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l"],
    ),
    ("CLIPSetLastLayer", &["stop_at_clip_layer"]),
    ("CheckpointLoaderSimple", &["ckpt_name"]),
    ("UNETLoader", &["unet_name"]),
    ("LoraLoader", &["lora_name", "strength_model", "strength_clip"]),
    ("LoraLoaderModelOnly", &["lora_name", "strength_model"]),
    ("EmptyLatentImage", &["width", "height", "batch_size"]),
    ("EmptySD3LatentImage", &["width", "height", "batch_size"]),
    ("LoadImage", &["image"]),
    ("PrimitiveNode", &["value"]),
    ("PrimitiveInt", &["value"]),
    ("PrimitiveFloat", &["value"]),
    ("PrimitiveString", &["value"]),
    ("PrimitiveStringMultiline", &["value"]),
];

/// A node that is switched off, and one that only lets through.
const MUTED: i64 = 2;
const BYPASSED: i64 = 4;

#[derive(Deserialize)]
struct Workflow {
    nodes: Vec<EditorNode>,
    #[serde(default)]
    links: Vec<Value>,
}

#[derive(Deserialize)]
struct EditorNode {
    id: Value,
    #[serde(rename = "type")]
    class: String,
    #[serde(default)]
    mode: i64,
    #[serde(default)]
    inputs: Vec<Input>,
    #[serde(default)]
    widgets_values: Value,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    #[serde(default)]
    link: Option<u64>,
}

/// The graph that running this workflow would make, as far as it matters for a recipe.
pub(super) fn parse(text: &str) -> Option<Graph> {
    let workflow: Workflow = serde_json::from_str(text).ok()?;
    let sources: HashMap<u64, Value> = workflow.links.iter().filter_map(source).collect();
    let mut graph = Graph::default();
    for node in workflow.nodes.into_iter().filter(|node| node.mode != MUTED) {
        let bypassed = node.mode == BYPASSED;
        let mut inputs = if bypassed { Map::new() } else { widgets(&node.class, node.widgets_values) };
        for input in node.inputs {
            if let Some(link) = input.link.and_then(|id| sources.get(&id)) {
                inputs.insert(input.name, link.clone());
            }
        }
        let class = if bypassed { "Reroute".to_owned() } else { node.class };
        graph.add(id_text(&node.id)?, Node { class, inputs });
    }
    (!graph.is_empty()).then_some(graph)
}

/// `[link, from node, from output, to node, to input, type]`, or the same as an object: link and `["from", output]`.
fn source(link: &Value) -> Option<(u64, Value)> {
    let (id, node, output) = match link {
        Value::Array(parts) => (parts.first()?, parts.get(1)?, parts.get(2)?),
        Value::Object(map) => (map.get("id")?, map.get("origin_id")?, map.get("origin_slot")?),
        _ => return None,
    };
    Some((id.as_u64()?, Value::Array(vec![id_text(node)?.into(), output.clone()])))
}

fn id_text(id: &Value) -> Option<String> {
    crate::gallery::metadata::draft::text_of(id)
}

fn widgets(class: &str, values: Value) -> Map<String, Value> {
    match values {
        Value::Object(named) => named,
        Value::Array(values) => {
            let names = WIDGETS.iter().find(|row| row.0 == class).map_or(&[] as &[&str], |row| row.1);
            names.iter().map(|name| (*name).to_owned()).zip(values).collect()
        }
        _ => Map::new(),
    }
}
