// A matmul of 32-bit floats by ggml, on any of its backends, for benchpeer.
//
//   ggml matmul M N K [BACKEND]    c[M,N] = a[M,K]·bᵀ[N,K]; BACKEND: Vulkan0 (default), CPU, …
//
// Prints {"ms": minimum of up to 5 runs after a warm-up}. ggml is not part of this project:
// build it from source with -DGGML_VULKAN=ON, then
//
//   g++ -O2 -I$GGML/include ggml.cpp -o ggml -L$GGML/build/src -lggml -lggml-base -Wl,-rpath,$GGML/build/src
//
// ggml finds a software Vulkan device only with GGML_VK_VISIBLE_DEVICES=0.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static int fail(const char * backend, const char * why) {
    fprintf(stderr, "%s %s\n", backend, why);
    return 1;
}

int main(int argc, char ** argv) {
    if (argc < 5 || strcmp(argv[1], "matmul") != 0) {
        fprintf(stderr, "usage: ggml matmul M N K [BACKEND]\n");
        return 2;
    }
    const int64_t m = atoll(argv[2]), n = atoll(argv[3]), k = atoll(argv[4]);
    const char * name = argc > 5 ? argv[5] : "Vulkan0";
    ggml_backend_load_all();
    ggml_backend_dev_t device = ggml_backend_dev_by_name(name);
    if (!device) return fail(name, "is no backend here");
    ggml_backend_t backend = ggml_backend_dev_init(device, nullptr);
    ggml_context * ctx = ggml_init({ ggml_tensor_overhead() * 16 + ggml_graph_overhead(), nullptr, true });
    // The first operand's rows are the result's columns, as a layer's weights are.
    ggml_tensor * b = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, k, n);
    ggml_tensor * a = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, k, m);
    ggml_tensor * c = ggml_mul_mat(ctx, b, a);
    ggml_cgraph * graph = ggml_new_graph(ctx);
    ggml_build_forward_expand(graph, c);
    if (!ggml_backend_supports_op(backend, c) || !ggml_backend_alloc_ctx_tensors(ctx, backend)) return fail(name, "does not take this shape");
    std::vector<float> x(m * k, 0.5f), y(n * k, 0.25f);
    ggml_backend_tensor_set(a, x.data(), 0, x.size() * sizeof(float));
    ggml_backend_tensor_set(b, y.data(), 0, y.size() * sizeof(float));
    double best = INFINITY;
    const double begin = now();
    for (int run = 0; run < 6 && (run < 2 || now() - begin < 10); run++) {
        const double start = now();
        if (ggml_backend_graph_compute(backend, graph) != GGML_STATUS_SUCCESS) return fail(name, "failed");
        ggml_backend_synchronize(backend);
        if (run > 0) best = std::min(best, now() - start);
    }
    float last = 0;
    ggml_backend_tensor_get(c, &last, (m * n - 1) * sizeof last, sizeof last);
    if (last != 0.125f * k) return fail(name, "computes something else");
    printf("{\"ms\": %.4f}\n", best * 1e3);
}
