//! The kernels' own sources, compiled as C++ with stand-ins for Metal's language (`tests/msl_shim`), against their
//! twins. Says nothing about Apple's compiler or GPU; says that the arithmetic and the barriers are right.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use candle_core::{Layout, Tensor};
use half::f16;

use super::super::Dispatch;
use super::super::add::Add;
use super::super::conv::Im2col;
use super::super::linear::Geglu;
use super::super::norm::GroupNorm;
use super::{off, random};

/// The kernels as a program, for values of one type.
struct Kernels {
    _folder: tempfile::TempDir,
    program: PathBuf,
    half: bool,
}

impl Kernels {
    /// Needs g++: a machine without it fails here, so that nobody takes these tests for done.
    fn compile(half: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let program = folder.path().join("kernels");
        let mut compiler = Command::new("g++");
        compiler.args(["-std=c++17", "-O1", "-Wall", "-Werror", "-Wno-attributes"]);
        compiler.arg(if half { "-DT=half" } else { "-DT=float" });
        for name in ["group_norm", "im2col", "add", "geglu"] {
            let source = root.join(format!("src/diffusion/nn/metal/{name}.metal"));
            compiler.arg(format!("-DKERNELS_{}=\"{}\"", name.to_uppercase(), source.display()));
        }
        compiler.arg(root.join("tests/msl_shim/main.cpp")).arg("-o").arg(&program);
        let output = compiler.output().expect("g++ checks the Metal kernels; install it (apt install g++)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { _folder: folder, program, half }
    }

    fn bytes(&self, x: &Tensor) -> Vec<u8> {
        let values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        if self.half {
            values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
        } else {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
    }

    fn tensor(&self, bytes: &[u8], like: &Tensor) -> Tensor {
        let values: Vec<f32> = if self.half {
            bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        } else {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        };
        Tensor::from_vec(values, like.shape(), like.device()).unwrap()
    }

    /// What the kernel writes; in whatever order the threads of a group run, it must be the same.
    fn run(&self, dispatch: &Dispatch, inputs: &[Vec<u8>], value_bytes: usize) -> Vec<u8> {
        let outputs: Vec<Vec<u8>> =
            (0..3).map(|order| self.run_in_order(dispatch, inputs, value_bytes, order)).collect();
        assert!(outputs.iter().all(|output| *output == outputs[0]), "{} lacks a barrier", dispatch.kernel);
        outputs[0].clone()
    }

    fn run_in_order(
        &self,
        dispatch: &Dispatch,
        inputs: &[Vec<u8>],
        value_bytes: usize,
        order: u32,
    ) -> Vec<u8> {
        let mut child = Command::new(&self.program)
            .arg(dispatch.kernel)
            .arg(order.to_string())
            .args(dispatch.grid.map(|size| size.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut send = |bytes: &[u8]| {
            stdin.write_all(&(bytes.len() as u64).to_le_bytes()).unwrap();
            stdin.write_all(bytes).unwrap();
        };
        for bytes in inputs {
            send(bytes);
        }
        stdin.write_all(&((dispatch.count * value_bytes) as u64).to_le_bytes()).unwrap();
        let params: Vec<u8> = dispatch.params.iter().flat_map(|param| param.to_le_bytes()).collect();
        stdin.write_all(&(params.len() as u64).to_le_bytes()).unwrap();
        stdin.write_all(&params).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}: {:?}", dispatch.kernel, output.status);
        assert_eq!(output.stdout.len(), dispatch.count * value_bytes);
        output.stdout
    }

    fn value_bytes(&self) -> usize {
        if self.half { 2 } else { 4 }
    }

    /// How far a result may be off, in units of the largest.
    fn tolerance(&self) -> f32 {
        if self.half { 1e-3 } else { 1e-6 }
    }

    /// As the kernel sees it.
    fn rounded(&self, x: &Tensor) -> Tensor {
        self.tensor(&self.bytes(x), x)
    }

    fn group_norm(&self) {
        // less than a chunk, a few chunks and a rest, more chunks than threads
        let large = if self.half { [1, 1, 3, 5] } else { [1, 1, 1025, 1024] };
        for (shape, groups) in [([2usize, 6, 5, 3], 3usize), ([1, 8, 40, 33], 2), (large, 1)] {
            let x = self.rounded(&((random(&shape, 1) * 2.).unwrap() + 7.).unwrap());
            let (weight, bias) =
                (self.rounded(&random(&shape[1..2], 2)), self.rounded(&random(&shape[1..2], 3)));
            // the large one takes its time
            for silu in [false, true].into_iter().filter(|silu| !silu || x.elem_count() < 100_000) {
                let norm = GroupNorm { groups, eps: 1e-5, silu };
                let [stats, apply] = norm.dispatches(x.shape()).unwrap();
                let partial = self.run(&stats, &[self.bytes(&x)], 4);
                let inputs = [self.bytes(&x), partial, self.bytes(&weight), self.bytes(&bias)];
                let y = self.tensor(&self.run(&apply, &inputs, self.value_bytes()), &x);
                let twin = norm.forward(&x, &weight, &bias).unwrap();
                assert!(off(&y, &twin) < self.tolerance(), "{shape:?} {silu}: {}", off(&y, &twin));
            }
        }
    }

    fn im2col(&self) {
        let x = self.rounded(&random(&[2, 3, 7, 5], 1));
        let plain = Im2col {
            kernel: 3,
            stride: 1,
            padding: 1,
            up_height: 7,
            up_width: 5,
            first_row: 0,
            rows: 7,
            columns: 5,
        };
        for op in [
            plain,
            Im2col { first_row: 2, rows: 3, ..plain },
            Im2col { stride: 2, rows: 4, columns: 3, ..plain },
            Im2col { stride: 2, padding: 0, rows: 3, columns: 2, ..plain },
            Im2col { up_height: 13, up_width: 10, rows: 13, columns: 10, ..plain },
            Im2col { up_height: 40, up_width: 30, rows: 40, columns: 30, ..plain },
        ] {
            let (dispatch, _) = op.dispatch(x.layout()).unwrap();
            let twin = x.apply_op1_no_bwd(&op).unwrap();
            let y = self.tensor(&self.run(&dispatch, &[self.bytes(&x)], self.value_bytes()), &twin);
            assert!(off(&y, &twin) == 0., "{op:?}");
        }
    }

    fn add(&self) {
        let x = self.rounded(&random(&[2, 3, 5, 31], 1));
        let [bias, residual] = [random(&[3], 2), random(&[2, 3, 5, 31], 3)].map(|x| self.rounded(&x));
        let shifts = [None, Some(random(&[1, 3], 4)), Some(random(&[2, 3], 5))];
        let shifts = shifts.map(|shift| shift.map(|shift| self.rounded(&shift)));
        for (bias, residual) in [(Some(&bias), None), (None, Some(&residual)), (Some(&bias), Some(&residual))]
        {
            for shift in &shifts {
                let op = Add {
                    bias: bias.cloned(),
                    shift: shift.clone(),
                    residual: residual.cloned(),
                    channels: 3,
                    inner: 155,
                };
                let bound = |given: Option<&Tensor>| self.bytes(given.unwrap_or(&x));
                let inputs = [self.bytes(&x), bound(bias), bound(shift.as_ref()), bound(residual)];
                let y = self.run(&op.dispatch(x.elem_count()).unwrap(), &inputs, self.value_bytes());
                let twin = x.apply_op1_no_bwd(&op).unwrap();
                assert!(off(&self.tensor(&y, &x), &twin) < self.tolerance());
            }
        }
    }

    fn geglu(&self) {
        // one value that is 1, and gates from far below to far above
        let gates: Vec<f32> = (-6000..6000).map(|i| i as f32 / 500.).collect();
        let row: Vec<f32> = std::iter::repeat_n(1., gates.len()).chain(gates).collect();
        let rows = Tensor::from_vec(row, (1, 24_000), &candle_core::Device::Cpu).unwrap();
        let bias = self.rounded(&random(&[600], 2));
        for (x, bias) in [(rows, None), (random(&[3, 2, 600], 1), Some(bias))] {
            let x = self.rounded(&x);
            let op = Geglu { bias };
            let (dispatch, shape) = op.dispatch(&Layout::contiguous(x.shape())).unwrap();
            let twin = x.apply_op1_no_bwd(&op).unwrap();
            assert_eq!(twin.shape(), &shape);
            let inputs = [self.bytes(&x), self.bytes(op.bias.as_ref().unwrap_or(&x))];
            let y = self.tensor(&self.run(&dispatch, &inputs, self.value_bytes()), &twin);
            assert!(off(&y, &twin) < self.tolerance(), "{}", off(&y, &twin));
            // small results, too, have as many right digits as the error function allows
            let absolute = (&y - &twin).unwrap().abs().unwrap().flatten_all().unwrap();
            let largest = absolute.max(0).unwrap().to_vec0::<f32>().unwrap();
            assert!(largest < if self.half { 1e-2 } else { 2e-6 }, "{largest}");
        }
    }

    fn all(&self) {
        self.group_norm();
        self.im2col();
        self.add();
        self.geglu();
    }
}

#[test]
fn kernels_compute_in_f32_what_their_twins_do() {
    Kernels::compile(false).all();
}

#[test]
#[cfg(target_arch = "x86_64")]
fn kernels_compute_in_f16_what_their_twins_do() {
    Kernels::compile(true).all();
}
