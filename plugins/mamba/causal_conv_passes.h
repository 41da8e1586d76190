// The convolution on lanes of neighbouring channels. Part of selective_scan_passes.h, which says how it is compiled.

namespace colonnade::mamba::COLONNADE_SCAN_TARGET {

template <typename Real>
COLONNADE_INLINE Vector<Real> sigmoid(Vector<Real> s, const PowerConstants<Real>& k) {
  return Real(1) / (Real(1) + power_of_two<Real, true>(s, broadcast<Real>(Real(-kLog2E)), k).value);
}

template <typename Real>
COLONNADE_INLINE Vector<Real> read_block(const Real* from, Block block) {
  if (block.count == kLanes<Real>) return load<Real>(from + block.first);
  Vector<Real> v = {};
  __builtin_memcpy(&v, from + block.first, block.count * sizeof(Real));
  return v;
}

template <typename Real>
COLONNADE_INLINE void write_block(Real* to, Block block, Vector<Real> v) {
  if (block.count == kLanes<Real>) {
    store<Real>(to + block.first, v);
  } else {
    __builtin_memcpy(to + block.first, &v, block.count * sizeof(Real));
  }
}

/// The rows that a step's output is made of; null for those before the sequence where there are none.
template <typename Real>
COLONNADE_INLINE void rows_of_step(const ConvShape& shape, const ConvInputs<Real>& in, int64_t batch, int64_t t,
                                   const Real** rows) {
  const int64_t past = shape.width - 1;
  for (int64_t k = 0; k <= past; ++k) {
    const int64_t at = t - past + k;
    if (at >= 0) {
      rows[k] = in.x + batch * in.x_batch + at * in.x_row;
    } else {
      rows[k] = in.before == nullptr ? nullptr : in.before + (batch * past + past + at) * shape.channels;
    }
  }
}

template <typename Real>
COLONNADE_INLINE Vector<Real> convolve_block(const ConvShape& shape, const ConvInputs<Real>& in, const Real** rows,
                                             Block block) {
  Vector<Real> sum = in.bias == nullptr ? Vector<Real>{} : read_block<Real>(in.bias, block);
  for (int64_t k = 0; k < shape.width; ++k) {
    if (rows[k] == nullptr) continue;
    const Vector<Real> tap = read_block<Real>(in.taps + k * shape.channels, block);
    sum = multiply_add(tap, read_block<Real>(rows[k], block), sum);
  }
  return sum;
}

/// Tasks are steps, counted through all sequences.
template <typename Real>
void conv_forward(const ConvShape& shape, const ConvInputs<Real>& in, Real* y, int64_t begin, int64_t end) {
  const PowerConstants<Real> constants;
  const Real* rows[kMaxConvWidth];
  for (int64_t step = begin; step < end; ++step) {
    rows_of_step<Real>(shape, in, step / shape.length, step % shape.length, rows);
    for (int64_t first = 0; first < shape.channels; first += kLanes<Real>) {
      const int64_t left = shape.channels - first;
      const Block block{first, left < kLanes<Real> ? left : kLanes<Real>};
      const Vector<Real> s = convolve_block<Real>(shape, in, rows, block);
      write_block<Real>(y + step * shape.channels, block, s * sigmoid<Real>(s, constants));
    }
  }
}

/// One block of channels of one sequence, backwards in time: a step's dx is the taps' sum over the steps that it
/// entered.
template <typename Real>
COLONNADE_INLINE void conv_backward_block(const ConvShape& shape, const ConvInputs<Real>& in, const Real* dy,
                                          const ConvGradients<Real>& partial, Real* dx, int64_t batch, Block block) {
  const PowerConstants<Real> constants;
  const int64_t width = shape.width;
  const Real* rows[kMaxConvWidth];
  Vector<Real> taps[kMaxConvWidth], dtaps[kMaxConvWidth] = {}, later[kMaxConvWidth] = {}, dbias = {};
  for (int64_t k = 0; k < width; ++k) taps[k] = read_block<Real>(in.taps + k * shape.channels, block);
  for (int64_t t = shape.length - 1; t >= 0; --t) {
    rows_of_step<Real>(shape, in, batch, t, rows);
    const Vector<Real> s = convolve_block<Real>(shape, in, rows, block);
    const Vector<Real> gate = sigmoid<Real>(s, constants);
    const int64_t row = (batch * shape.length + t) * shape.channels;
    const Vector<Real> slope = gate * multiply_add(s, Real(1) - gate, broadcast<Real>(1));
    const Vector<Real> ds = read_block<Real>(dy + row, block) * slope;
    dbias += ds;
    for (int64_t k = 0; k < width; ++k) {
      if (rows[k] != nullptr) dtaps[k] = multiply_add(ds, read_block<Real>(rows[k], block), dtaps[k]);
    }
    // later[j] is ds of step t + j.
    for (int64_t j = width - 1; j > 0; --j) later[j] = later[j - 1];
    later[0] = ds;
    Vector<Real> sum = {};
    for (int64_t j = 0; j < width; ++j) sum = multiply_add(taps[width - 1 - j], later[j], sum);
    write_block<Real>(dx + row, block, sum);
  }
  for (int64_t k = 0; k < width; ++k) {
    write_block<Real>(partial.dtaps + (batch * width + k) * shape.channels, block, dtaps[k]);
  }
  write_block<Real>(partial.dbias + batch * shape.channels, block, dbias);
}

/// Tasks are groups of channels of a sequence; `partial` holds dtaps [B, width, D] and dbias [B, D].
template <typename Real>
void conv_backward(const ConvShape& shape, const ConvInputs<Real>& in, const Real* dy,
                   const ConvGradients<Real>& partial, int64_t begin, int64_t end) {
  const int64_t groups = ceil_divide(shape.channels, kScanGroupChannels);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t start = task % groups * kScanGroupChannels;
    const int64_t stop = start + kScanGroupChannels < shape.channels ? start + kScanGroupChannels : shape.channels;
    for (int64_t first = start; first < stop; first += kLanes<Real>) {
      const Block block{first, stop - first < kLanes<Real> ? stop - first : kLanes<Real>};
      conv_backward_block<Real>(shape, in, dy, partial, partial.dx, task / groups, block);
    }
  }
}

}  // namespace colonnade::mamba::COLONNADE_SCAN_TARGET
