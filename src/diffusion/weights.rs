//! A component's safetensors: memory-mapped, read by Hugging Face names, and accounted for.
//!
//! Every tensor that a model asks for is ticked off. [`Weights::finish`] then lists what was missing, what had
//! another shape, and what the files hold that nobody asked for, since a weight that is silently dropped still
//! renders a picture, only the wrong one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use safetensors::SafeTensors;

use super::error::{DiffusionError, Result};
use super::nn::{Backend, Floats, fault};
use crate::checkpoint::Blob;

/// Called with the bytes of each tensor as it is read.
pub type OnBytes = Arc<dyn Fn(u64) + Send + Sync>;

enum Bytes {
    Mapped(memmap2::Mmap),
    Static(&'static [u8]),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

struct Entry {
    file: usize,
    dtype: DType,
    shape: Vec<usize>,
    range: std::ops::Range<usize>,
}

impl Entry {
    fn bytes<'a>(&self, inner: &'a Inner) -> &'a [u8] {
        &inner.files[self.file].as_slice()[self.range.clone()]
    }
}

/// A tensor in the dtype of its file, still in the mapped file where that can be; cheap to clone.
#[derive(Clone)]
pub struct Stored(Source);

#[derive(Clone)]
enum Source {
    /// f32, f16 or bf16 in file number `file`, which `inner` keeps mapped.
    File { inner: Arc<Inner>, file: usize, dtype: DType, range: std::ops::Range<usize> },
    /// A copy.
    Owned(Arc<Vec<f32>>),
}

impl Stored {
    /// Its values, in row-major order.
    pub fn floats(&self) -> Floats<'_> {
        match &self.0 {
            Source::Owned(values) => Floats::F32(values),
            Source::File { inner, file, dtype, range } => {
                let bytes = &inner.files[*file].as_slice()[range.clone()];
                Floats::from_bytes(bytes, *dtype).unwrap_or(Floats::F32(&[]))
            }
        }
    }

    /// Its values in f32.
    pub fn to_vec(&self) -> Vec<f32> {
        self.floats().to_vec()
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stored({} values)", self.floats().len())
    }
}

/// Bytes that the system maps around the one that was read, where the file is in its cache (Linux: fault-around).
const MAPPED_AT_ONCE: usize = 64 << 10;

/// Bytes of the small tensors of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallTensors {
    /// Their copies in f32.
    pub copied: u64,
    /// These and the pages that come into memory with them.
    pub read: u64,
}

#[derive(Default)]
struct Ledger {
    used: BTreeSet<String>,
    missing: BTreeSet<String>,
    misshapen: BTreeSet<String>,
}

struct Inner {
    component: String,
    files: Vec<Bytes>,
    entries: BTreeMap<String, Entry>,
    ledger: Mutex<Ledger>,
    device: Device,
    dtype: DType,
    on_bytes: Option<OnBytes>,
}

/// A prefix into a component's weights; cheap to clone.
#[derive(Clone)]
pub struct Weights {
    inner: Arc<Inner>,
    prefix: String,
}

impl Weights {
    /// Maps the files of `component`. Tensors will be handed out on `device` in `dtype`.
    ///
    /// # Errors
    /// When a file cannot be read or is no safetensors file.
    pub fn open(
        component: &str,
        blobs: &[Blob],
        device: &Device,
        dtype: DType,
        on_bytes: Option<OnBytes>,
    ) -> Result<Self> {
        let mut files = Vec::with_capacity(blobs.len());
        let mut entries = BTreeMap::new();
        for (index, blob) in blobs.iter().enumerate() {
            let bytes = map(blob)
                .map_err(|source| DiffusionError::Io { path: format!("{component} weights"), source })?;
            let (header, metadata) = SafeTensors::read_metadata(bytes.as_slice()).map_err(|error| {
                let path =
                    if let Blob::File(path) = blob { path.display().to_string() } else { component.into() };
                DiffusionError::Config {
                    file: path,
                    message: format!("not a whole safetensors file ({error})"),
                }
            })?;
            for (name, info) in metadata.tensors() {
                let (start, end) = info.data_offsets;
                let dtype = DType::try_from(info.dtype)?;
                let range = header + 8 + start..header + 8 + end;
                entries.insert(name, Entry { file: index, dtype, shape: info.shape.clone(), range });
            }
            files.push(bytes);
        }
        let inner = Inner {
            component: component.into(),
            files,
            entries,
            ledger: Mutex::default(),
            device: device.clone(),
            dtype,
            on_bytes,
        };
        Ok(Self { inner: Arc::new(inner), prefix: String::new() })
    }

    /// The weights below `name`, as `pp` in candle.
    #[must_use]
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Self { inner: Arc::clone(&self.inner), prefix: self.full(&name.to_string()) }
    }

    /// The weights below `name` if there are any, else these: transformers 5 no longer writes `text_model.`,
    /// the Hub's files have it.
    #[must_use]
    pub fn pp_optional(&self, name: &str) -> Self {
        let below = self.full(name) + ".";
        let any = self.inner.entries.keys().any(|key| key.starts_with(&below));
        if any { self.pp(name) } else { self.clone() }
    }

    /// Whether the files hold `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.inner.entries.contains_key(&self.full(name))
    }

    /// Dimensions of `name`, if the files hold it.
    pub fn rank(&self, name: &str) -> Option<usize> {
        self.inner.entries.get(&self.full(name)).map(|entry| entry.shape.len())
    }

    /// The device that tensors are handed out on.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// The dtype that tensors are handed out in.
    pub fn dtype(&self) -> DType {
        self.inner.dtype
    }

    /// The tensor `name`, which must have this shape. A missing or misshapen one is noted for [`Self::finish`]
    /// and handed out as zeros, so that one error can list them all.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.get_arranged(shape, name, Ok)
    }

    /// Like [`Self::get`], with something done to the tensor before it goes to the device.
    ///
    /// # Errors
    /// Those of `arrange`, and when the device has no memory left.
    pub fn get_arranged(
        &self,
        shape: impl Into<Shape>,
        name: &str,
        arrange: impl FnOnce(Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        fault::op()?;
        let shape = shape.into();
        let inner = &*self.inner;
        let Some(entry) = self.tick_off(&shape, name) else {
            return Ok(arrange(Tensor::zeros(shape, inner.dtype, &Device::Cpu)?)?.to_device(&inner.device)?);
        };
        let bytes = entry.bytes(inner);
        // Cast on the CPU: a GPU's pool would hold both copies until the next synchronisation.
        let tensor =
            Tensor::from_raw_buffer(bytes, entry.dtype, shape.dims(), &Device::Cpu)?.to_dtype(inner.dtype)?;
        let tensor = arrange(tensor)?.to_device(&inner.device)?;
        if let Some(on_bytes) = &inner.on_bytes {
            on_bytes(bytes.len() as u64);
        }
        Ok(tensor)
    }

    /// Whether layers keep their weights as [`Stored`] ones, because the CPU's ops widen them where they use them.
    pub fn keeps_stored(&self) -> bool {
        Backend::new(self.inner.device.location(), self.inner.dtype) == Backend::Cpu
    }

    /// The tensor `name` as the file has it, without a copy where that can be. Missing and misshapen ones as in
    /// [`Self::get`].
    ///
    /// # Errors
    /// When a copy is needed and there is no memory left for it.
    pub fn stored(&self, shape: impl Into<Shape>, name: &str) -> Result<Stored> {
        fault::op()?;
        let shape = shape.into();
        let inner = &self.inner;
        let Some(entry) = self.tick_off(&shape, name) else {
            return Ok(Stored(Source::Owned(Arc::new(vec![0.; shape.elem_count()]))));
        };
        let bytes = entry.bytes(inner);
        if let Some(on_bytes) = &inner.on_bytes {
            on_bytes(bytes.len() as u64);
        }
        if Floats::from_bytes(bytes, entry.dtype).is_some() {
            let (dtype, range) = (entry.dtype, entry.range.clone());
            return Ok(Stored(Source::File { inner: Arc::clone(inner), file: entry.file, dtype, range }));
        }
        // Another dtype, or a file whose tensors do not start at multiples of their elements' size.
        let tensor = Tensor::from_raw_buffer(bytes, entry.dtype, shape.dims(), &Device::Cpu)?;
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(Stored(Source::Owned(Arc::new(values))))
    }

    /// The entry of `name`, ticked off; `None`, with a note, when it is missing or misshapen.
    fn tick_off(&self, shape: &Shape, name: &str) -> Option<&Entry> {
        let full = self.full(name);
        let mut ledger = self.inner.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = self.inner.entries.get(&full) else {
            ledger.missing.insert(full);
            return None;
        };
        ledger.used.insert(full.clone());
        if entry.shape != shape.dims() {
            ledger.misshapen.insert(format!("{full} {:?}, not {:?}", entry.shape, shape.dims()));
            return None;
        }
        Some(entry)
    }

    /// Ticks `name` off without reading it: buffers that old files carry and nobody needs.
    pub fn ignore(&self, name: &str) {
        let full = self.full(name);
        self.inner.ledger.lock().unwrap_or_else(PoisonError::into_inner).used.insert(full);
    }

    /// Settles the account after a model was built.
    ///
    /// # Errors
    /// When weights were missing, misshapen or unused; lists their names.
    pub fn finish(&self) -> Result<()> {
        let ledger = self.inner.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let unused: Vec<&str> = self
            .inner
            .entries
            .keys()
            .filter(|name| !ledger.used.contains(*name))
            .map(String::as_str)
            .collect();
        let mut problems = Vec::new();
        for (what, names) in [
            ("missing", ledger.missing.iter().map(String::as_str).collect()),
            ("misshapen", ledger.misshapen.iter().map(String::as_str).collect()),
            ("unused", unused),
        ] {
            if let Some(text) = list(what, &names) {
                problems.push(text);
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(DiffusionError::Weights {
            component: self.inner.component.clone(),
            problems: problems.join("; "),
        })
    }

    /// Bytes in the files, and values, of the tensors whose full names are `wanted`.
    pub fn measure(&self, wanted: impl Fn(&str) -> bool) -> (u64, u64) {
        let entries = self.inner.entries.iter().filter(|(name, _)| wanted(name));
        entries.fold((0, 0), |(bytes, values), (_, entry)| {
            (bytes + entry.range.len() as u64, values + entry.shape.iter().product::<usize>() as u64)
        })
    }

    /// What building a model reads of mapped files: biases, norms and whatever else has one dimension.
    pub fn small(&self) -> SmallTensors {
        let mut small = SmallTensors { copied: 0, read: 0 };
        let mut windows = BTreeSet::new();
        for entry in
            self.inner.entries.values().filter(|entry| entry.shape.len() == 1 && !entry.range.is_empty())
        {
            small.copied += 4 * entry.shape[0] as u64;
            let (first, last) = (entry.range.start / MAPPED_AT_ONCE, (entry.range.end - 1) / MAPPED_AT_ONCE);
            windows.extend((first..=last).map(|window| (entry.file, window)));
        }
        // Bytes of the program itself are no mapped file, but are paged in all the same.
        small.read = small.copied + (windows.len() * MAPPED_AT_ONCE) as u64;
        small
    }

    /// Bytes of all tensors in the files.
    pub fn total_bytes(&self) -> u64 {
        self.inner.entries.values().map(|entry| entry.range.len() as u64).sum()
    }

    fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.into() } else { format!("{}.{name}", self.prefix) }
    }
}

fn list(what: &str, names: &Vec<&str>) -> Option<String> {
    const SHOWN: usize = 12;
    let rest = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    let more: Cow<'_, str> = if rest > 0 { format!(" and {rest} more").into() } else { "".into() };
    (!names.is_empty()).then(|| format!("{} {what}: {shown}{more}", names.len()))
}

fn map(blob: &Blob) -> std::io::Result<Bytes> {
    match blob {
        Blob::Static(bytes) => Ok(Bytes::Static(bytes)),
        Blob::File(path) => {
            let file = std::fs::File::open(path)?;
            // Sound as long as nobody truncates the file while it is mapped, which the cache never does:
            // it replaces whole files.
            #[expect(unsafe_code, reason = "memory-mapping a file")]
            let mapped = unsafe { memmap2::Mmap::map(&file)? };
            Ok(Bytes::Mapped(mapped))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn weights_are_read_where_the_file_is_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mapped.safetensors");
        let tensor = Tensor::ones((64, 64), DType::F16, &Device::Cpu).unwrap();
        candle_core::safetensors::save(&std::collections::HashMap::from([("weight", tensor)]), &path)
            .unwrap();
        let blobs = [Blob::File(path.clone())];
        let weights = Weights::open("unet", &blobs, &Device::Cpu, DType::F32, None).unwrap();
        let stored = weights.stored((64, 64), "weight").unwrap();
        let Floats::F16(values) = stored.floats() else { panic!("they stay in the file's dtype") };
        let at = values.as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.lines().find(|line| line.ends_with(&path.display().to_string())).unwrap();
        let (start, end) = mapped.split_whitespace().next().unwrap().split_once('-').unwrap();
        let address = |text: &str| usize::from_str_radix(text, 16).unwrap();
        assert!((address(start)..address(end)).contains(&at), "{at:x} is not in {mapped}");
    }
}
