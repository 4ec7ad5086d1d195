// The pixels that each tap of a convolution's kernel sees, for some output rows: [pictures, channels * taps, pixels],
// so that weights times this is the result in the order of pictures. Nearest-neighbour enlargement on the way.

#define THREADS 256

struct Im2colParams {
    uint channels;
    uint height;
    uint width;
    uint up_height;
    uint up_width;
    uint kernel_size;
    uint stride;
    uint padding;
    uint first_row;
    uint rows;
    uint columns;
};

// Threadgroups: (pixels / THREADS, channels * taps, pictures).
kernel void im2col(
    device const T *x [[buffer(0)]],
    device T *y [[buffer(1)]],
    constant Im2colParams &p [[buffer(2)]],
    uint3 place [[threadgroup_position_in_grid]],
    uint thread_at [[thread_index_in_threadgroup]])
{
    uint pixel = place.x * THREADS + thread_at;
    uint pixels = p.rows * p.columns;
    if (pixel >= pixels) return;
    uint taps = p.kernel_size * p.kernel_size;
    uint channel = place.y / taps;
    uint tap = place.y % taps;
    int row = int((p.first_row + pixel / p.columns) * p.stride + tap / p.kernel_size) - int(p.padding);
    int column = int((pixel % p.columns) * p.stride + tap % p.kernel_size) - int(p.padding);
    T value = T(0.0f);
    if (row >= 0 && row < int(p.up_height) && column >= 0 && column < int(p.up_width)) {
        uint source_row = uint(row) * p.height / p.up_height;
        uint source_column = uint(column) * p.width / p.up_width;
        ulong plane = ulong(place.z) * p.channels + channel;
        value = x[(plane * p.height + source_row) * p.width + source_column];
    }
    y[(ulong(place.z) * p.channels * taps + place.y) * pixels + pixel] = value;
}
