// Everything in one unit; see build.rs.
#include "types.cu"
#include "norm.cu"
#include "pointwise.cu"
#include "attention.cu"
