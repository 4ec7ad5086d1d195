//! CLIP's byte-pair tokenizer, built from a checkpoint's `tokenizer/` folder as transformers' `CLIPTokenizer` is.
//!
//! Knows files and token ids; knows nothing of tensors, prompts' weights or models. Which tokens are special,
//! which one pads, and how long a sequence is come from the files, never from a constant: Stable Diffusion 1 pads
//! with `<|endoftext|>`, 2 and the second tokenizer of SDXL with `!`, which thereby becomes a token of its own.
//!
//! Source: transformers 5.23, `tokenization_clip.py` (the parts) and `tokenization_utils_base.py`,
//! `_from_pretrained` (which file wins).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::error::{DiffusionError, Result};
use crate::checkpoint::Checkpoint;

/// The words of CLIP: its special tokens, the English contractions, runs of letters, single digits, runs of the rest.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

const BEGIN: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// How much of a model's context a text takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCount {
    /// Tokens of the text, without the begin and end tokens.
    pub used: usize,
    /// Tokens that the model reads, without the begin and end tokens.
    pub limit: usize,
    /// Where in the text the first token begins that the model does not read, in bytes; always on a character's
    /// boundary. `None` when everything is read.
    pub cut_at_byte: Option<usize>,
}

/// Turns text into the token ids of a CLIP text encoder.
#[derive(Clone, Debug)]
pub struct ClipTokenizer {
    tokenizer: Tokenizer,
    begin: u32,
    end: u32,
    pad: u32,
    max_length: usize,
}

impl ClipTokenizer {
    /// Builds the tokenizer in `folder` (`tokenizer`, `tokenizer_2`) of a checkpoint: from `vocab.json` and
    /// `merges.txt`, or from `tokenizer.json`, with the special tokens of `tokenizer_config.json`,
    /// `special_tokens_map.json` and `added_tokens.json`.
    ///
    /// `max_positions` is what the text encoder can read; a longer `model_max_length` is cut to it.
    ///
    /// # Errors
    /// When a file is missing or broken, or says something that is not implemented.
    pub fn from_checkpoint(checkpoint: &Checkpoint, folder: &str, max_positions: usize) -> Result<Self> {
        let files = Files { checkpoint, folder };
        let (vocab, merges, json_tokens) = files.vocabulary()?;
        let special = SpecialTokens::resolve(&files, json_tokens)?;
        let broken = |error: tokenizers::Error| files.error("vocab.json", &error.to_string());

        let model = BPE::builder()
            .vocab_and_merges(vocab.into_iter().collect::<Vocab>(), merges)
            .unk_token(special.unknown.content.clone())
            .continuing_subword_prefix(String::new())
            .end_of_word_suffix("</w>".into())
            .fuse_unk(false)
            .build()
            .map_err(broken)?;
        let mut tokenizer = Tokenizer::new(model);
        let spaces = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ").map_err(broken)?;
        tokenizer
            .with_normalizer(Some(Normalizers::new(vec![NFC.into(), spaces.into(), Lowercase.into()])))
            .map_err(broken)?;
        let words = SplitPattern::Regex(WORDS.into());
        let words = Split::new(words, SplitDelimiterBehavior::Removed, true).map_err(broken)?;
        let bytes = ByteLevel::new(false, true, true);
        tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(vec![words.into(), bytes.into()])));
        tokenizer.add_tokens(special.to_add()).map_err(broken)?;

        let id = |token: &AddedToken| {
            tokenizer.token_to_id(&token.content).ok_or_else(|| {
                files.error("vocab.json", &format!("does not hold the special token {}", token.content))
            })
        };
        let (begin, end, pad) = (id(&special.begin)?, id(&special.end)?, id(&special.pad)?);
        id(&special.unknown)?;
        let max_length = special.max_length.unwrap_or(max_positions).min(max_positions);
        if max_length < 3 {
            return Err(files.error("tokenizer_config.json", "model_max_length leaves no room for a word"));
        }
        Ok(Self { tokenizer, begin, end, pad, max_length })
    }

    /// Tokens of a sequence, begin, end and padding included: the length of what [`Self::encode`] returns.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The largest id that can come out, which the text encoder's embedding must hold.
    pub fn max_id(&self) -> u32 {
        self.tokenizer.get_vocab(true).into_values().max().unwrap_or(0)
    }

    /// Begin token, the text's tokens, end token, padding: always [`Self::max_length`] ids. What does not fit is
    /// cut, as transformers does with `padding="max_length", truncation=True`.
    ///
    /// # Errors
    /// When the vocabulary is inconsistent.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.frame(&self.tokens(text)?))
    }

    /// The text's tokens alone, all of them.
    ///
    /// # Errors
    /// When the vocabulary is inconsistent.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|error| inconsistent(&error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Puts begin, end and padding around a text's tokens, and cuts what does not fit.
    pub fn frame(&self, tokens: &[u32]) -> Vec<u32> {
        let tokens = &tokens[..tokens.len().min(self.max_length - 2)];
        let mut ids = Vec::with_capacity(self.max_length);
        ids.push(self.begin);
        ids.extend_from_slice(tokens);
        ids.push(self.end);
        ids.resize(self.max_length, self.pad);
        ids
    }

    /// Where each token of `text` begins, in bytes, on characters' boundaries.
    pub(super) fn token_offsets(&self, text: &str) -> Result<Vec<usize>> {
        let encoding = self.tokenizer.encode(text, false).map_err(|error| inconsistent(&error))?;
        Ok(encoding.get_offsets().iter().map(|&(start, _)| text.floor_char_boundary(start)).collect())
    }
}

fn inconsistent(error: &tokenizers::Error) -> DiffusionError {
    DiffusionError::Config { file: "tokenizer".into(), message: format!("cannot tokenize: {error}") }
}

/// The files of one tokenizer folder.
struct Files<'a> {
    checkpoint: &'a Checkpoint,
    folder: &'a str,
}

type Vocabulary = (HashMap<String, u32>, Vec<(String, String)>, Option<Vec<JsonToken>>);

impl Files<'_> {
    fn error(&self, file: &str, message: &str) -> DiffusionError {
        DiffusionError::Config { file: format!("{}/{file}", self.folder), message: message.into() }
    }

    fn bytes(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>> {
        let path = format!("{}/{file}", self.folder);
        let Some(blob) = self.checkpoint.files.get(&path) else { return Ok(None) };
        blob.read().map(Some).map_err(|source| DiffusionError::Io { path, source })
    }

    fn json<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>> {
        let Some(bytes) = self.bytes(file)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| self.error(file, &error.to_string()))
    }

    /// Tokens with their ids, merges in order, and the added tokens if `tokenizer.json` was there.
    fn vocabulary(&self) -> Result<Vocabulary> {
        if let Some(json) = self.json::<TokenizerJson>("tokenizer.json")? {
            let merges = json.model.merges.into_iter().map(|merge| match merge {
                Merge::Pair(left, right) => Ok((left, right)),
                Merge::Line(line) => pair(&line).ok_or_else(|| {
                    self.error("tokenizer.json", &format!("`{line}` is no merge of two tokens"))
                }),
            });
            return Ok((json.model.vocab, merges.collect::<Result<_>>()?, Some(json.added_tokens)));
        }
        let missing = |file: &str| {
            self.error(
                file,
                "is missing, and so is tokenizer.json: the tokenizer needs vocab.json and merges.txt",
            )
        };
        let vocab = self.json("vocab.json")?.ok_or_else(|| missing("vocab.json"))?;
        let merges = self.bytes("merges.txt")?.ok_or_else(|| missing("merges.txt"))?;
        let merges =
            std::str::from_utf8(&merges).map_err(|error| self.error("merges.txt", &error.to_string()))?;
        let merges =
            merges.lines().filter(|line| !line.starts_with("#version") && !line.is_empty()).map(|line| {
                pair(line)
                    .ok_or_else(|| self.error("merges.txt", &format!("`{line}` is no merge of two tokens")))
            });
        Ok((vocab, merges.collect::<Result<_>>()?, None))
    }
}

fn pair(line: &str) -> Option<(String, String)> {
    let (left, right) = line.split_once(' ')?;
    (!right.contains(' ')).then(|| (left.into(), right.into()))
}

/// What is read of `tokenizer.json`: transformers builds the rest of a CLIP tokenizer itself, and so do we.
#[derive(Deserialize)]
struct TokenizerJson {
    model: BpeJson,
    #[serde(default)]
    added_tokens: Vec<JsonToken>,
}

#[derive(Deserialize)]
struct BpeJson {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

/// An added token of `tokenizer.json`.
#[derive(Deserialize)]
struct JsonToken {
    id: u32,
    #[serde(flatten)]
    token: TokenFields,
}

/// The fields of an added token, with the defaults of the tokenizers library.
#[derive(Clone, Deserialize)]
struct TokenFields {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl TokenFields {
    fn build(&self, special: bool) -> AddedToken {
        AddedToken::from(self.content.clone(), special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized.unwrap_or(!special))
    }
}

/// A special token as configs write it: its text, or its text and fields.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum NamedToken {
    Text(String),
    Fields(TokenFields),
}

impl NamedToken {
    fn content(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Fields(fields) => &fields.content,
        }
    }

    /// A named token is special whatever its fields say; what they say of normalisation stays.
    fn build(&self, file_is_map: bool) -> AddedToken {
        match self {
            Self::Text(text) => AddedToken::from(text.clone(), true),
            Self::Fields(fields) => {
                let mut token = fields.build(file_is_map || fields.special);
                token.special = true;
                token
            }
        }
    }
}

/// The special tokens that a config can name.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct NamedTokens {
    #[serde(rename = "bos_token")]
    begin: Option<NamedToken>,
    #[serde(rename = "eos_token")]
    end: Option<NamedToken>,
    #[serde(rename = "unk_token")]
    unknown: Option<NamedToken>,
    #[serde(rename = "pad_token")]
    pad: Option<NamedToken>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    #[serde(flatten)]
    named: NamedTokens,
    model_max_length: Option<f64>,
    added_tokens_decoder: Option<BTreeMap<String, TokenFields>>,
    padding_side: Option<String>,
    truncation_side: Option<String>,
}

/// Every special token, settled over all files.
struct SpecialTokens {
    begin: AddedToken,
    end: AddedToken,
    unknown: AddedToken,
    pad: AddedToken,
    /// Tokens that the files add to the vocabulary, by id.
    added: BTreeMap<u32, AddedToken>,
    max_length: Option<usize>,
}

impl SpecialTokens {
    /// `added_tokens_decoder` in `tokenizer_config.json` settles everything; files from before transformers 4.34
    /// lack it, and there `special_tokens_map.json` wins over `tokenizer_config.json` (Stable Diffusion 2's padding
    /// depends on it).
    fn resolve(files: &Files<'_>, json_tokens: Option<Vec<JsonToken>>) -> Result<Self> {
        let config: TokenizerConfig = files.json("tokenizer_config.json")?.unwrap_or_default();
        for (key, side) in
            [("padding_side", config.padding_side), ("truncation_side", config.truncation_side)]
        {
            if let Some(side) = side.filter(|side| side != "right") {
                let file = format!("{}/tokenizer_config.json", files.folder);
                return Err(DiffusionError::unsupported(&file, key, &side, "right"));
            }
        }
        let mut added = BTreeMap::new();
        let mut map = NamedTokens::default();
        if let Some(decoder) = config.added_tokens_decoder {
            for (id, token) in decoder {
                let id = id.parse().map_err(|_| {
                    files.error(
                        "tokenizer_config.json",
                        &format!("added_tokens_decoder: `{id}` is no token id"),
                    )
                })?;
                added.insert(id, token.build(token.special));
            }
        } else {
            map = files.json("special_tokens_map.json")?.unwrap_or_default();
            let legacy: BTreeMap<String, u32> = files.json("added_tokens.json")?.unwrap_or_default();
            for (content, id) in legacy {
                let special = [&map, &config.named].iter().any(|named| named.contains(&content));
                added.insert(id, AddedToken::from(content, special));
            }
            for JsonToken { id, token } in json_tokens.into_iter().flatten() {
                added.insert(id, token.build(token.special));
            }
        }
        let settle = |from_map: &Option<NamedToken>, from_config: &Option<NamedToken>, default: &str| {
            let token = match (from_map, from_config) {
                (Some(token), _) => token.build(true),
                (None, Some(token)) => token.build(false),
                (None, None) => AddedToken::from(default, true),
            };
            added.values().find(|known| known.content == token.content).cloned().unwrap_or(token)
        };
        Ok(Self {
            begin: settle(&map.begin, &config.named.begin, BEGIN),
            end: settle(&map.end, &config.named.end, END),
            unknown: settle(&map.unknown, &config.named.unknown, END),
            pad: settle(&map.pad, &config.named.pad, END),
            // Files without a limit carry transformers' "very large integer", 1e30.
            max_length: config.model_max_length.filter(|n| (1. ..1e9).contains(n)).map(|n| n as usize),
            added,
        })
    }

    /// The tokens to add to the vocabulary, in transformers' order. Where the same text comes twice the last one
    /// stands, and with it whether the text is found before or after lowercasing.
    fn to_add(&self) -> impl Iterator<Item = AddedToken> {
        let named = [&self.begin, &self.end, &self.unknown, &self.pad];
        let unknown_to_files =
            named.into_iter().filter(|token| self.added.values().all(|added| added.content != token.content));
        self.added.values().chain(unknown_to_files).cloned()
    }
}

impl NamedTokens {
    fn contains(&self, content: &str) -> bool {
        [&self.begin, &self.end, &self.unknown, &self.pad]
            .into_iter()
            .flatten()
            .any(|token| token.content() == content)
    }
}
