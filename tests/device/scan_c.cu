// The CUDA scan behind a flat C interface, for scan_checks.py.
#include "plugins/mamba_cuda/scan_cuda.h"

using namespace colonnade::mamba_cuda;

extern "C" {

struct FlatScan {
  int64_t batch, length, channels, states;
  int32_t element, softplus, zoh, multiprocessors;
  void *x, *delta, *z, *b, *c, *a, *d, *bias, *h0;  // x, delta, z [B, L, D], b, c [B, L, N], all dense
  void *y, *h_last, *boundaries;
  void *dy, *dh_last, *dx, *ddelta, *dz, *db, *dc, *da, *dd, *dbias, *dh0;
  void *workspace, *stream;
};

static Sequence dense(void* data, int64_t length, int64_t width) {
  return {data, length * width, width};
}

static Scan scan_of(const FlatScan& f) {
  Scan s;
  s.batch = f.batch;
  s.length = f.length;
  s.channels = f.channels;
  s.states = f.states;
  s.element = static_cast<Element>(f.element);
  s.softplus = f.softplus;
  s.zoh = f.zoh;
  s.x = dense(f.x, f.length, f.channels);
  s.delta = dense(f.delta, f.length, f.channels);
  if (f.z != nullptr) s.z = dense(f.z, f.length, f.channels);
  s.b = dense(f.b, f.length, f.states);
  s.c = dense(f.c, f.length, f.states);
  s.a = static_cast<float*>(f.a);
  s.d = static_cast<float*>(f.d);
  s.bias = static_cast<float*>(f.bias);
  s.h0 = static_cast<float*>(f.h0);
  return s;
}

int64_t scan_boundary_elements(const FlatScan* f) {
  return boundary_elements(scan_of(*f));
}

int64_t scan_workspace(const FlatScan* f) {
  const size_t forward = forward_workspace(scan_of(*f), f->multiprocessors);
  const size_t backward = backward_workspace(scan_of(*f), f->multiprocessors);
  return static_cast<int64_t>(forward > backward ? forward : backward);
}

int scan_run_forward(const FlatScan* f) {
  const ForwardOutputs out{dense(f->y, f->length, f->channels), static_cast<float*>(f->h_last),
                           static_cast<float*>(f->boundaries)};
  return scan_forward(scan_of(*f), out, f->workspace, f->multiprocessors, static_cast<cudaStream_t>(f->stream));
}

int scan_run_backward(const FlatScan* f) {
  BackwardOutputs out;
  out.dx = dense(f->dx, f->length, f->channels);
  out.ddelta = dense(f->ddelta, f->length, f->channels);
  if (f->dz != nullptr) out.dz = dense(f->dz, f->length, f->channels);
  out.db = dense(f->db, f->length, f->states);
  out.dc = dense(f->dc, f->length, f->states);
  out.da = static_cast<float*>(f->da);
  out.dd = static_cast<float*>(f->dd);
  out.dbias = static_cast<float*>(f->dbias);
  out.dh0 = static_cast<float*>(f->dh0);
  return scan_backward(scan_of(*f), dense(f->dy, f->length, f->channels), static_cast<const float*>(f->dh_last),
                       static_cast<const float*>(f->boundaries), out, f->workspace, f->multiprocessors,
                       static_cast<cudaStream_t>(f->stream));
}

}  // extern "C"
