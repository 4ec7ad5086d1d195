// What is added to a product: a value a channel, a value a channel and picture, another tensor. One pass for all.

#define THREADS 256

struct AddParams {
    uint count;
    // values of one channel that follow each other
    uint inner;
    uint channels;
    uint has_bias;
    uint has_shift;
    // 0 where all pictures have the same
    uint shift_stride;
    uint has_residual;
};

// Threadgroups: (count / THREADS).
kernel void add(
    device const T *x [[buffer(0)]],
    device const T *bias [[buffer(1)]],
    device const T *shift [[buffer(2)]],
    device const T *residual [[buffer(3)]],
    device T *y [[buffer(4)]],
    constant AddParams &p [[buffer(5)]],
    uint3 place [[threadgroup_position_in_grid]],
    uint thread_at [[thread_index_in_threadgroup]])
{
    uint at = place.x * THREADS + thread_at;
    if (at >= p.count) return;
    uint channel = at / p.inner % p.channels;
    float value = float(x[at]);
    if (p.has_bias != 0) value += float(bias[channel]);
    if (p.has_shift != 0) value += float(shift[at / (p.inner * p.channels) * p.shift_stride + channel]);
    if (p.has_residual != 0) value += float(residual[at]);
    y[at] = T(value);
}
