// Of each row, with a bias added if there is one, the first half times the GELU of the second.

#define THREADS 256

struct GegluParams {
    uint rows;
    uint width;
    uint has_bias;
};

// The error function to the last bit or two of a float; MSL has none.
inline float erf_of(float a)
{
    float t = min(abs(a), 4.0f);
    float s = t * t;
    float r;
    if (t > 0.927734375f) {
        r = fma(-1.72853470e-5f, t, 3.83197126e-4f);
        float u = fma(-3.88396438e-3f, t, 2.42546219e-2f);
        r = fma(r, s, u);
        r = fma(r, t, -1.06777877e-1f);
        r = fma(r, t, -6.34846687e-1f);
        r = fma(r, t, -1.28717512e-1f);
        r = fma(r, t, -t);
        r = 1.0f - exp(r);
        return a < 0.0f ? -r : r;
    }
    r = -5.96761703e-4f;
    r = fma(r, s, 4.99119423e-3f);
    r = fma(r, s, -2.67681349e-2f);
    r = fma(r, s, 1.12819925e-1f);
    r = fma(r, s, -3.76125336e-1f);
    r = fma(r, s, 1.28379166e-1f);
    return fma(r, a, a);
}

// Threadgroups: (width / THREADS, rows).
kernel void geglu(
    device const T *x [[buffer(0)]],
    device const T *bias [[buffer(1)]],
    device T *y [[buffer(2)]],
    constant GegluParams &p [[buffer(3)]],
    uint3 place [[threadgroup_position_in_grid]],
    uint thread_at [[thread_index_in_threadgroup]])
{
    uint column = place.x * THREADS + thread_at;
    if (column >= p.width) return;
    ulong row = place.y;
    float gate = float(x[row * 2 * p.width + p.width + column]);
    float value = float(x[row * 2 * p.width + column]);
    if (p.has_bias != 0) {
        value += float(bias[column]);
        gate += float(bias[p.width + column]);
    }
    y[row * p.width + column] = T(value * (0.5f * gate * (1.0f + erf_of(gate * 0.70710678f))));
}
