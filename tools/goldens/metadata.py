"""Pictures with the metadata of other tools, in those tools' exact formats: tests/fixtures/metadata.

    python -m goldens.metadata      (in tools/; Pillow is all it needs)

The texts follow the tools' own writers: A1111 `modules/processing.py` and `modules/images.py`, ComfyUI `nodes.py`
(SaveImage) and `comfy_extras/nodes_images.py` (SaveAnimatedWEBP), InvokeAI `ldm/invoke/pngwriter.py` and
`invokeai/app/services/image_files`, stable-diffusion.cpp `examples/common/common.cpp`, mflux
`utils/{generated_image,image_util,metadata_builder}.py`. Draw Things is not open in this part: its fixture follows the
files that it writes.
"""

import json
import pathlib

from PIL import Image
from PIL.PngImagePlugin import PngInfo

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "metadata"
USER_COMMENT, EXIF_IFD, MAKE, MODEL = 0x9286, 0x8769, 0x010F, 0x0110


def picture() -> Image.Image:
    return Image.new("RGB", (2, 2), (120, 90, 60))


def png(name: str, texts: dict[str, str], *, zipped: bool = False, itxt: tuple = (), exif=None) -> None:
    info = PngInfo()
    for key, text in texts.items():
        if key in itxt:
            info.add_itxt(key, text, zip=zipped)
        else:
            info.add_text(key, text, zip=zipped)  # tEXt, or iTXt where Latin-1 does not do
    picture().save(OUT / f"{name}.png", pnginfo=info, **({"exif": exif} if exif else {}))


def exif_with(comment: bytes | None = None, **tags: str) -> bytes:
    exif = Image.Exif()
    for key, text in tags.items():
        exif[{"make": MAKE, "model": MODEL}[key]] = text
    if comment is not None:
        exif.get_ifd(EXIF_IFD)[USER_COMMENT] = comment
    return exif.tobytes()  # an Exif with nothing but its sub-directory counts as empty


def unicode_comment(text: str) -> bytes:
    return b"UNICODE\0" + text.encode("utf-16-be")  # piexif.helper.UserComment.dump(text, "unicode")


A1111 = """a (red:1.2) fox, <lora:ink:0.8>
in "deep" snow, 4k
Negative prompt: blurry, low quality,
watermark
Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 965400086, Size: 512x768, \
Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Variation seed: 41, Variation seed strength: 0.25, \
Denoising strength: 0.4, Clip skip: 2, RNG: CPU, Hires upscale: 2, Hires upscaler: Latent, \
Lora hashes: "ink: 8d0a6f1e, snow: \\"x\\"", Version: v1.10.1"""

A1111_OLD = """ein Füchschen 🦊
Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: abc, Model: dreamshaper_8, \
ENSD: 31337"""

COMFY = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "cfg": 8.0, "denoise": 1.0, "latent_image": ["5", 0], "model": ["4", 0], "negative": ["7", 0],
            "positive": ["6", 0], "sampler_name": "euler_ancestral", "scheduler": "normal",
            "seed": 18446744073709551615, "steps": 20,
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "SD15\\v1-5-pruned-emaonly.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"batch_size": 1, "height": 512, "width": 640}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["4", 1], "text": "beautiful scenery, glass bottle"}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["4", 1], "text": "text, watermark"}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}

COMFY_SDXL = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}},
    "2": {
        "class_type": "LoraLoader",
        "inputs": {"lora_name": "ink.safetensors", "strength_model": 0.7, "strength_clip": 1.0,
                   "model": ["1", 0], "clip": ["1", 1]},
    },
    "3": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a fox\nin the snow"}},
    "4": {
        "class_type": "CLIPTextEncodeSDXL",
        "inputs": {"width": 4096, "height": 4096, "crop_w": 0, "crop_h": 0, "target_width": 4096,
                   "target_height": 4096, "text_g": ["3", 0], "text_l": ["3", 0], "clip": ["14", 0]},
    },
    "5": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["14", 0]}},
    "6": {"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 2}},
    "7": {"class_type": "RandomNoise", "inputs": {"noise_seed": ["15", 0]}},
    "8": {"class_type": "CFGGuider", "inputs": {"cfg": 5.5, "model": ["2", 0], "positive": ["4", 0], "negative": ["5", 0]}},
    "9": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpmpp_2m_sde_gpu"}},
    "10": {"class_type": "BasicScheduler", "inputs": {"scheduler": "karras", "steps": 30, "denoise": 1.0, "model": ["2", 0]}},
    "11": {
        "class_type": "SamplerCustomAdvanced",
        "inputs": {"noise": ["7", 0], "guider": ["8", 0], "sampler": ["9", 0], "sigmas": ["10", 0], "latent_image": ["6", 0]},
    },
    "12": {"class_type": "VAEDecode", "inputs": {"samples": ["11", 0], "vae": ["1", 2]}},
    "13": {"class_type": "PreviewImage", "inputs": {"images": ["12", 0]}},
    "14": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["2", 1]}},
    "15": {"class_type": "PrimitiveInt", "inputs": {"value": 77}},
}


def editor_node(id_, kind, widgets, links=(), mode=0):
    inputs = [{"name": name, "type": type_, "link": link} for name, type_, link in links]
    return {"id": id_, "type": kind, "pos": [0, 0], "size": [315, 262], "flags": {}, "order": id_, "mode": mode,
            "inputs": inputs, "outputs": [], "properties": {"Node name for S&R": kind}, "widgets_values": widgets}


# Two passes, the second on latents scaled up; a LoRA that is bypassed.
COMFY_WORKFLOW = {
    "last_node_id": 13, "last_link_id": 20, "version": 0.4, "groups": [], "config": {}, "extra": {},
    "nodes": [
        editor_node(11, "KSampler", [5, "fixed", 14, 8, "dpmpp_2m", "simple", 0.5],
                    [("model", "MODEL", 10), ("positive", "CONDITIONING", 11), ("negative", "CONDITIONING", 12),
                     ("latent_image", "LATENT", 13)]),
        editor_node(3, "KSampler", [89848141647836, "randomize", 12, 8, "dpmpp_sde", "karras", 1],
                    [("model", "MODEL", 1), ("positive", "CONDITIONING", 2), ("negative", "CONDITIONING", 3),
                     ("latent_image", "LATENT", 4)]),
        editor_node(10, "LatentUpscale", ["nearest-exact", 1152, 1152, "disabled"], [("samples", "LATENT", 14)]),
        editor_node(13, "LoraLoader", ["ink.safetensors", 1, 1], [("model", "MODEL", 5), ("clip", "CLIP", 6)], mode=4),
        editor_node(16, "CheckpointLoaderSimple", ["v2-1_768-ema-pruned.safetensors"]),
        editor_node(6, "CLIPTextEncode", ["a castle of glass"], [("clip", "CLIP", 7)]),
        editor_node(7, "CLIPTextEncode", ["bad hands"], [("clip", "CLIP", 8)]),
        editor_node(5, "EmptyLatentImage", [768, 768, 1]),
        editor_node(12, "VAEDecode", None, [("samples", "LATENT", 15), ("vae", "VAE", 16)]),
        editor_node(9, "SaveImage", ["ComfyUI"], [("images", "IMAGE", 17)]),
    ],
    "links": [
        [1, 13, 0, 3, 0, "MODEL"], [2, 6, 0, 3, 1, "CONDITIONING"], [3, 7, 0, 3, 2, "CONDITIONING"],
        [4, 5, 0, 3, 3, "LATENT"], [5, 16, 0, 13, 0, "MODEL"], [6, 16, 1, 13, 1, "CLIP"], [7, 13, 1, 6, 0, "CLIP"],
        [8, 13, 1, 7, 0, "CLIP"], [10, 13, 0, 11, 0, "MODEL"], [11, 6, 0, 11, 1, "CONDITIONING"],
        [12, 7, 0, 11, 2, "CONDITIONING"], [13, 10, 0, 11, 3, "LATENT"], [14, 3, 0, 10, 0, "LATENT"],
        [15, 11, 0, 12, 0, "LATENT"], [16, 16, 2, 12, 1, "VAE"], [17, 12, 0, 9, 0, "IMAGE"],
    ],
}

INVOKEAI_5 = {
    "generation_mode": "sdxl_txt2img", "positive_prompt": "a lighthouse", "negative_prompt": "fog", "width": 1024,
    "height": 768, "seed": 4294967295, "rand_device": "cpu", "cfg_scale": 6.0, "cfg_rescale_multiplier": 0.0,
    "steps": 30, "scheduler": "dpmpp_2m_k", "clip_skip": 0,
    "model": {"key": "5e1d", "hash": "blake3:0d", "name": "stabilityai/stable-diffusion-xl-base-1.0", "base": "sdxl",
              "type": "main"},
    "loras": [{"model": {"key": "99", "name": "ink", "base": "sdxl", "type": "lora"}, "weight": 0.75}],
    "positive_style_prompt": "a lighthouse", "negative_style_prompt": "grain", "app_version": "5.6.0",
}

INVOKEAI_2 = {
    "model": "stable diffusion", "model_id": "stable-diffusion-1.5", "model_hash": "cc6c", "app_id":
    "invoke-ai/InvokeAI", "app_version": "2.3.5.post2",
    "image": {"prompt": [{"prompt": "a fox++ [blurry] in snow [low quality]", "weight": 1.0}], "steps": 50,
              "cfg_scale": 7.5, "threshold": 0.0, "perlin": 0.0, "height": 512, "width": 768, "seed": 3141,
              "seamless": False, "hires_fix": False, "type": "txt2img", "postprocessing": None, "sampler": "k_lms",
              "variations": [{"seed": 9, "weight": 0.1}]},
}
DREAM = '"a fox++ [blurry] in snow [low quality]" -s 50 -S 3141 -W 768 -H 512 -C 7.5 -A k_euler_a --seamless  ' \
        "# model_id=stable-diffusion-1.5"

SDCPP = {
    "schema": "sdcpp.image.params/v1", "mode": "img_gen",
    "generator": {"name": "stable-diffusion.cpp", "version": "master-391", "commit": "0a1b"},
    "seed": 42, "width": 512, "height": 640,
    "prompt": {"positive": "a lovely cat, SDCPP: or not", "negative": "dog"},
    "sampling": {"steps": 24, "eta": 1.0, "shifted_timestep": 0, "flow_shift": 0.0, "extra_sample_args": "",
                 "guidance": {"txt_cfg": 7.0, "img_cfg": 7.0, "distilled_guidance": 3.5,
                              "slg": {"scale": 0.0, "layers": [7, 8, 9], "start": 0.01, "end": 0.2}},
                 "method": "euler_a", "scheduler": "discrete", "custom_sigmas": []},
    "models": {"model": "v1-5-pruned-emaonly.safetensors", "vae": "ae.safetensors"},
    "clip_skip": -1, "strength": 0.75, "control_strength": 0.9, "ip_adapter_strength": 1.0,
    "auto_resize_ref_image": True, "increase_ref_index": False, "rng": "cuda",
    "loras": [{"name": "ink.safetensors", "multiplier": 0.5, "is_high_noise": False}],
}
SDCPP_TEXT = """{prompt}
Negative prompt: dog
Steps: 24, CFG scale: 7.000000, Guidance: 3.500000, Eta: 0.000000, Seed: 42, Size: 512x640, \
Model: v1-5-pruned-emaonly.safetensors, RNG: cuda, Sampler: {sampler}, VAE: ae.safetensors, \
Version: stable-diffusion.cpp"""

MFLUX = {
    "mflux_version": "0.12.1", "model": "black-forest-labs/FLUX.1-dev", "base_model": "None", "seed": 2,
    "steps": 20, "guidance": 3.5, "height": 512, "width": 1024, "precision": "mlx.core.bfloat16", "quantize": 8,
    "generation_time_seconds": 31.42, "created_at": "2026-01-02T03:04:05.678900", "lora_paths": None,
    "lora_scales": None, "image_path": None, "image_paths": None, "image_strength": None,
    "controlnet_image_path": None, "controlnet_strength": None, "masked_image_path": None, "depth_image_path": None,
    "redux_image_paths": None, "redux_image_strengths": None, "prompt": "Luxury food photograph — é & <b>",
    "negative_prompt": None,
}
MFLUX_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:mflux="http://ns.mflux.ai/1.0/">
    <dc:description><rdf:Alt><rdf:li xml:lang="x-default">Luxury food photograph</rdf:li></rdf:Alt></dc:description>
    <xmp:CreatorTool>MFLUX 0.12.1</xmp:CreatorTool>
    <mflux:seed>2</mflux:seed>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

DRAW_THINGS = {
    "c": 'a "tin" cup & saucer', "uc": "blurry", "model": "sd_xl_turbo_1.0_f16.ckpt", "sampler": "DPM++ 2M Karras",
    "scale": 4.5, "seed": 1601874409, "seed_mode": "Scale Alike", "size": "768x512", "steps": 30, "strength": 1,
    "v2": {"aestheticScore": 6, "batchCount": 1, "clipSkip": 2, "height": 512, "width": 768, "hiresFix": False,
           "loras": [{"file": "ink_lora_f16.ckpt", "weight": 0.6}], "controls": [], "sampler": 0},
}
DRAW_THINGS_XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 6.0.0">
   <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
      <rdf:Description rdf:about=""
            xmlns:dc="http://purl.org/dc/elements/1.1/"
            xmlns:exif="http://ns.adobe.com/exif/1.0/"
            xmlns:xmp="http://ns.adobe.com/xap/1.0/">
         <xmp:CreatorTool>Draw Things</xmp:CreatorTool>
         <exif:UserComment>
            <rdf:Alt>
               <rdf:li xml:lang="x-default">{json}</rdf:li>
            </rdf:Alt>
         </exif:UserComment>
      </rdf:Description>
   </rdf:RDF>
</x:xmpmeta>"""

MOLD = {"prompt": "a gif owl", "negative_prompt": "blurry", "model": "sdxl-turbo:fp16", "seed": 7, "steps": 4,
        "guidance": 0.0, "width": 512, "height": 512, "scheduler": "euler-ancestral", "version": "0.8.1 (abc)"}

SWARMUI = {"sui_image_params": {
    "prompt": "a cat", "negativeprompt": "dog", "model": "OfficialStableDiffusion/sd_xl_base_1.0", "seed": 305223794,
    "steps": 25, "cfgscale": 7.0, "aspectratio": "1:1", "width": 1024, "height": 1024, "sampler": "dpmpp_2m",
    "scheduler": "karras", "automaticvae": True, "swarm_version": "0.9.1.1"}}


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    escape = lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")

    png("a1111", {"parameters": A1111})
    png("a1111_old", {"parameters": A1111_OLD})
    png("a1111_ztxt", {"parameters": A1111}, zipped=True)
    png("a1111_itxt", {"parameters": A1111}, itxt=("parameters",), zipped=True)
    picture().save(OUT / "a1111.jpg", exif=exif_with(unicode_comment(A1111_OLD)))
    picture().save(OUT / "a1111.webp", exif=exif_with(unicode_comment(A1111)))
    (OUT / "a1111.txt").write_text(A1111)

    png("comfyui", {"prompt": json.dumps(COMFY), "workflow": json.dumps(COMFY_WORKFLOW)})
    png("comfyui_sdxl", {"prompt": json.dumps(COMFY_SDXL)})
    png("comfyui_workflow", {"workflow": json.dumps(COMFY_WORKFLOW)})
    comfy = exif_with(model=f"prompt:{json.dumps(COMFY)}", make=f"workflow:{json.dumps(COMFY_WORKFLOW)}")
    picture().save(OUT / "comfyui.webp", exif=comfy)

    png("invokeai_5", {"invokeai_metadata": json.dumps(INVOKEAI_5), "invokeai_graph": "{}"})
    png("invokeai_2", {"Dream": DREAM, "sd-metadata": json.dumps(INVOKEAI_2)})
    png("invokeai_dream", {"Dream": DREAM})

    text = SDCPP_TEXT.format(prompt=SDCPP["prompt"]["positive"], sampler="euler_a discrete")
    png("sdcpp", {"parameters": f"{text}, SDCPP: {json.dumps(SDCPP, separators=(',', ':'))}"})
    png("sdcpp_old", {"parameters": SDCPP_TEXT.format(prompt="a lovely cat", sampler="dpm++2m karras")})

    comment = b"ASCII\0\0\0" + json.dumps(MFLUX).encode()
    png("mflux", {"XML:com.adobe.xmp": MFLUX_XMP, "IPTC": "1c0278"}, exif=exif_with(comment))
    picture().save(OUT / "mflux_sidecar.png")
    (OUT / "mflux_sidecar.metadata.json").write_text(json.dumps(MFLUX, indent=4))

    xmp = DRAW_THINGS_XMP.replace("{json}", escape(json.dumps(DRAW_THINGS)))
    png("draw_things", {"XML:com.adobe.xmp": xmp}, itxt=("XML:com.adobe.xmp",))

    png("mold", {"mold:parameters": json.dumps(MOLD)}, itxt=("mold:parameters",))
    picture().save(OUT / "mold.jpg", comment=f"mold:parameters {json.dumps(MOLD)}".encode())
    png("swarmui", {"parameters": json.dumps(SWARMUI, indent=2)})
    png("nothing", {"Software": "a camera", "Comment": "Steps: 3 to the left, then 4: to the right"})


if __name__ == "__main__":
    main()
