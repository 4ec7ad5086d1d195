//! ComfyUI: `prompt`, the graph that ran, or `workflow`, the graph as the editor has it.
//!
//! There is no recipe in these files but a graph of nodes of any kind, so it is walked from the node that saved the
//! picture towards what it came from: the sampler whose latents came first, its conditionings, its model. Graphs can
//! be cyclic or huge in a hostile file; every walk visits a node once.

mod graph;
mod workflow;

use super::draft::{Draft, Field};
use super::{ReadProblem, Texts};
use graph::{Graph, Node};

const SOURCE: &str = "ComfyUI";

pub(super) fn read(texts: &Texts) -> Result<Option<Draft>, ReadProblem> {
    let Some(graph) = graph_of(texts)? else { return Ok(None) };
    let Some(samplers) = samplers(&graph) else {
        return Err(ReadProblem::Broken { tool: SOURCE, reason: "its graph has no sampler".into() });
    };
    let mut draft = Draft::default();
    describe(&graph, &samplers, &mut draft);
    Ok(Some(draft))
}

/// The graph of a file, from PNG texts or from where the WebP saver puts them: `prompt:{…}` in EXIF's `Model`.
fn graph_of(texts: &Texts) -> Result<Option<Graph>, ReadProblem> {
    let broken = |what: &str| ReadProblem::Broken { tool: SOURCE, reason: format!("{what} is no graph") };
    let exif = |key| [Texts::MODEL, Texts::MAKE].iter().find_map(|name| texts.get(name)?.strip_prefix(key));
    let prompt = texts.get("prompt").filter(|text| text.starts_with('{')).or_else(|| exif("prompt:"));
    let workflow = texts.get("workflow").or_else(|| exif("workflow:"));
    let from_prompt = prompt.map(|text| Graph::parse(text).ok_or_else(|| broken("`prompt`")));
    let from_workflow = || workflow.map(|text| workflow::parse(text).ok_or_else(|| broken("`workflow`")));
    match from_prompt {
        Some(Ok(graph)) => Ok(Some(graph)),
        Some(Err(problem)) => from_workflow().and_then(Result::ok).map(Some).ok_or(problem),
        None => from_workflow().transpose(),
    }
}

/// Most nodes that save pictures whose origin is looked for.
const MOST_OUTPUTS: usize = 16;

/// Ids of the samplers that the saved picture came from, the first that ran first.
fn samplers(graph: &Graph) -> Option<Vec<&str>> {
    let sampler = |id: &&str| graph.get(id).is_some_and(is_sampler);
    let saved = graph
        .nodes()
        .filter(|(_, node)| is_output(node))
        .take(MOST_OUTPUTS)
        .find_map(|(id, _)| graph.upstream(id, |_| true).into_iter().find(sampler));
    let last = saved.or_else(|| graph.nodes().find(|(_, node)| is_sampler(node)).map(|(id, _)| id))?;
    // A second pass starts from the first one's latents.
    let mut samplers: Vec<&str> = graph.upstream(last, is_latents).into_iter().filter(sampler).collect();
    samplers.reverse();
    Some(samplers)
}

fn is_output(node: &Node) -> bool {
    node.link("images").is_some() && (node.class.contains("Save") || node.class.contains("Preview"))
}

fn is_sampler(node: &Node) -> bool {
    let seeded = ["seed", "noise_seed", "noise"].iter().any(|key| node.has(key));
    seeded && node.link("latent_image").is_some() && (node.has("positive") || node.has("guider"))
}

/// Whether an input holds latents or a picture.
fn is_latents(key: &str) -> bool {
    ["latent", "sample", "pixel", "image"].iter().any(|start| key.starts_with(start))
}

fn describe(graph: &Graph, samplers: &[&str], draft: &mut Draft) {
    let Some((first, later)) = samplers.split_first() else { return };
    let Some(sampler) = graph.get(first) else { return };
    let part = |key: &str| graph.linked(sampler, key).unwrap_or(sampler);
    let (noise, guider, sigmas) = (part("noise"), part("guider"), part("sigmas"));

    conditioning(graph, guider, draft);
    for (field, node, keys) in [
        (Field::Seed, noise, ["seed", "noise_seed"].as_slice()),
        (Field::Steps, sigmas, &["steps"]),
        (Field::GuidanceScale, guider, &["cfg"]),
    ] {
        if let Some((key, text)) = keys.iter().find_map(|key| Some((key, graph.scalar(node, key)?))) {
            draft.set(field, key, &text);
        }
    }
    scheduler(graph, part("sampler"), sigmas, draft);
    if let Some(denoise) = graph.scalar(sigmas, "denoise").filter(|text| text.parse() != Ok(1.0)) {
        draft.leave("denoise", &denoise);
    }
    model(graph, guider, sampler, draft);
    latents(graph, first, draft);
    for id in later {
        let node = graph.get(id).map_or("", |node| node.class.as_str());
        draft.leave("later pass", &format!("{node} (node {id})"));
    }
}

/// The sampler's name from `select`, the noise levels' shape from `sigmas`.
fn scheduler(graph: &Graph, select: &Node, sigmas: &Node, draft: &mut Draft) {
    let shape = graph.scalar(sigmas, "scheduler").or_else(|| {
        let shape = sigmas.class.strip_suffix("Scheduler")?.to_ascii_lowercase();
        // Turbo's own spacing is what its checkpoint says.
        Some(if shape == "sdturbo" { "normal".to_owned() } else { shape })
    });
    match graph.scalar(select, "sampler_name") {
        Some(name) => draft.sampler(&name, shape.as_deref()),
        None => draft.leave("sampler", &select.class),
    }
}

/// Texts of the positive and the negative side. Flux' guiders have one `conditioning`.
fn conditioning(graph: &Graph, guider: &Node, draft: &mut Draft) {
    for (key, field) in
        [("positive", Field::Prompt), ("conditioning", Field::Prompt), ("negative", Field::NegativePrompt)]
    {
        let found = graph.conditioning(guider, key);
        if let Some((first, more)) = found.texts.split_first() {
            draft.set(field, key, first);
            for text in more.iter().filter(|text| *text != first) {
                draft.leave(key, text);
            }
        }
        for (name, value) in found.passed {
            draft.leave(&name, &value);
        }
    }
}

/// The checkpoint, and what changed the model on its way to the sampler.
fn model(graph: &Graph, guider: &Node, sampler: &Node, draft: &mut Draft) {
    let Some(start) = guider.link("model").or_else(|| sampler.link("model")) else { return };
    for id in graph.upstream(start, |key| matches!(key, "model" | "unet")) {
        let Some(node) = graph.get(id) else { continue };
        let checkpoint =
            ["ckpt_name", "unet_name", "model_name"].iter().find_map(|key| graph.scalar(node, key));
        if let Some(name) = checkpoint {
            draft.set(Field::Model, "model", &name);
        } else if let Some(lora) = graph.scalar(node, "lora_name") {
            let strength = graph.scalar(node, "strength_model").unwrap_or_default();
            draft.leave("lora", &format!("{lora} {strength}"));
        } else if node.class != "Reroute" {
            draft.leave("model", &node.class);
        }
    }
    // The text encoder's last layer is set on the way from the checkpoint to the prompt; -1 is the last.
    if let Some(layer) = graph.nodes().find_map(|(_, node)| graph.scalar(node, "stop_at_clip_layer")) {
        draft.set(Field::ClipStopLayer, "stop_at_clip_layer", layer.trim_start_matches('-'));
    }
}

/// The size of the empty latents, or the picture that the job started from.
fn latents(graph: &Graph, sampler: &str, draft: &mut Draft) {
    for id in graph.upstream(sampler, is_latents).into_iter().skip(1) {
        let Some(node) = graph.get(id) else { continue };
        if let Some(name) = graph.scalar(node, "image") {
            draft.leave("image", &name);
        }
        if let (Some(width), Some(height)) = (graph.scalar(node, "width"), graph.scalar(node, "height")) {
            draft.set(Field::Width, "width", &width);
            draft.set(Field::Height, "height", &height);
            if let Some(batch) = graph.scalar(node, "batch_size").filter(|size| size != "1") {
                draft.leave("batch_size", &batch);
            }
            return;
        }
    }
}
