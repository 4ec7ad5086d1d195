// Everything in one unit; see build.rs.
#include "types.cu"
#include "norm.cu"
#include "pointwise.cu"
#include "rows.cu"
#include "attention.cu"
