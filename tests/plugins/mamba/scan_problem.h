// A random scan problem in plain arrays, and the obvious float64 loop that the kernels are held against.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "plugins/mamba/selective_scan.h"

namespace colonnade::mamba {

template <typename Real>
struct ScanProblem {
  ScanShape shape;
  std::vector<Real> x, delta, a, b, c, d, h0, dy, dh_last;
};

template <typename Real>
struct ScanAnswer {
  std::vector<Real> y, h_last, boundaries;
  std::vector<Real> dx, ddelta, da, db, dc, dd, dh0;
};

inline ScanProblem<double> random_problem(const ScanShape& shape, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  const auto draw = [&](int64_t count, auto transform) {
    std::vector<double> values(count);
    // Rounded to float, so that every precision is given the same problem.
    for (double& value : values) value = static_cast<float>(transform(normal(generator)));
    return values;
  };
  const auto plain = [](double v) { return v; };
  const int64_t rows = shape.batch * shape.length;
  ScanProblem<double> problem;
  problem.shape = shape;
  problem.x = draw(rows * shape.channels, plain);
  problem.delta = draw(rows * shape.channels, [](double v) { return std::exp(v - 2.0); });
  problem.a = draw(shape.channels * shape.states, [](double v) { return -std::exp(v + 0.5); });
  problem.b = draw(rows * shape.states, plain);
  problem.c = draw(rows * shape.states, plain);
  problem.d = draw(shape.channels, plain);
  problem.h0 = draw(shape.batch * shape.channels * shape.states, plain);
  problem.dy = draw(rows * shape.channels, plain);
  problem.dh_last = draw(shape.batch * shape.channels * shape.states, plain);
  return problem;
}

template <typename Real>
ScanProblem<Real> cast_problem(const ScanProblem<double>& from) {
  const auto cast = [](const std::vector<double>& v) { return std::vector<Real>(v.begin(), v.end()); };
  return {from.shape,   cast(from.x), cast(from.delta), cast(from.a),  cast(from.b),
          cast(from.c), cast(from.d), cast(from.h0),    cast(from.dy), cast(from.dh_last)};
}

/// Bbar / B, and its derivatives by delta and A, from std::expm1; the limit where A is 0.
struct HeldInput {
  HeldInput(double delta, double a, Discretization discretization) {
    if (discretization == Discretization::mamba) {
      value = delta;
      by_delta = 1;
      by_a = 0;
      return;
    }
    const double z = delta * a;
    by_delta = std::exp(z);
    value = a == 0 ? delta : std::expm1(z) / a;
    by_a = std::abs(z) < 1e-4 ? delta * delta * (0.5 + z / 3 + z * z / 8) : (delta * by_delta - value) / a;
  }
  double value, by_delta, by_a;
};

/// One channel of one sequence through time and back.
inline void loop_channel(const ScanProblem<double>& p, Discretization discretization, int64_t batch, int64_t channel,
                         ScanAnswer<double>& out) {
  const auto [batches, length, channels, states] = p.shape;
  for (int64_t n = 0; n < states; ++n) {
    const double a = p.a[channel * states + n];
    const int64_t corner = (batch * channels + channel) * states + n;
    std::vector<double> h(length + 1);
    h[0] = p.h0[corner];
    for (int64_t t = 0; t < length; ++t) {
      const int64_t wide = (batch * length + t) * channels + channel;
      const int64_t narrow = (batch * length + t) * states + n;
      const HeldInput held(p.delta[wide], a, discretization);
      h[t + 1] = std::exp(p.delta[wide] * a) * h[t] + held.value * p.b[narrow] * p.x[wide];
      out.y[wide] += p.c[narrow] * h[t + 1];
    }
    out.h_last[corner] = h[length];
    double g = p.dh_last[corner];
    for (int64_t t = length - 1; t >= 0; --t) {
      const int64_t wide = (batch * length + t) * channels + channel;
      const int64_t narrow = (batch * length + t) * states + n;
      const double delta = p.delta[wide];
      const double decay = std::exp(delta * a);
      const HeldInput held(delta, a, discretization);
      const double input = p.b[narrow] * p.x[wide];
      g += p.c[narrow] * p.dy[wide];
      out.dc[narrow] += p.dy[wide] * h[t + 1];
      out.ddelta[wide] += g * (decay * a * h[t] + held.by_delta * input);
      out.da[channel * states + n] += g * (decay * delta * h[t] + held.by_a * input);
      out.db[narrow] += g * held.value * p.x[wide];
      out.dx[wide] += g * held.value * p.b[narrow];
      g *= decay;
    }
    out.dh0[corner] = g;
  }
}

inline ScanAnswer<double> loop_answer(const ScanProblem<double>& p, Discretization discretization) {
  ScanAnswer<double> out;
  for (auto* v : {&out.y, &out.dx, &out.ddelta}) v->assign(p.x.size(), 0);
  for (auto* v : {&out.db, &out.dc}) v->assign(p.b.size(), 0);
  for (auto* v : {&out.h_last, &out.dh0}) v->assign(p.h0.size(), 0);
  out.da.assign(p.a.size(), 0);
  out.dd.assign(p.d.size(), 0);
  for (int64_t batch = 0; batch < p.shape.batch; ++batch) {
    for (int64_t channel = 0; channel < p.shape.channels; ++channel) {
      loop_channel(p, discretization, batch, channel, out);
    }
  }
  for (size_t i = 0; i < p.x.size(); ++i) {
    const size_t channel = i % p.shape.channels;
    out.y[i] += p.d[channel] * p.x[i];
    out.dx[i] += p.d[channel] * p.dy[i];
    out.dd[channel] += p.x[i] * p.dy[i];
  }
  return out;
}

template <typename Real>
const Real* data_or_null(const std::vector<Real>& v) {
  return v.empty() ? nullptr : v.data();
}

/// Without D, h0 or dh_last where the problem's is empty.
template <typename Real>
ScanAnswer<Real> kernel_answer(const ScanProblem<Real>& p, Discretization discretization, SimdTarget target,
                               const ParallelFor& parallel_for) {
  // Filled with a number that shows where a kernel did not write.
  const Real unwritten = 12345;
  ScanAnswer<Real> out;
  for (auto* v : {&out.y, &out.dx, &out.ddelta}) v->assign(p.x.size(), unwritten);
  for (auto* v : {&out.db, &out.dc}) v->assign(p.b.size(), unwritten);
  for (auto* v : {&out.h_last, &out.dh0}) v->assign(p.shape.batch * p.a.size(), unwritten);
  out.da.assign(p.a.size(), unwritten);
  out.dd.assign(p.shape.channels, unwritten);
  out.boundaries.assign(boundary_elements(p.shape), unwritten);
  const ScanInputs<Real> in{p.x.data(), p.delta.data(),    p.a.data(),        p.b.data(),
                            p.c.data(), data_or_null(p.d), data_or_null(p.h0)};
  selective_scan_forward<Real>(p.shape, discretization, in, {out.y.data(), out.h_last.data(), out.boundaries.data()},
                               parallel_for, target);
  selective_scan_backward<Real>(
      p.shape, discretization, in, {p.dy.data(), data_or_null(p.dh_last), out.boundaries.data()},
      {out.dx.data(), out.ddelta.data(), out.da.data(), out.db.data(), out.dc.data(), out.dd.data(), out.dh0.data()},
      parallel_for, target);
  return out;
}

/// max |a - b| / max |b|.
template <typename Real>
double relative_error(const std::vector<Real>& a, const std::vector<double>& b) {
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double gap = std::abs(static_cast<double>(a[i]) - b[i]);
    difference = gap > difference || std::isnan(gap) ? gap : difference;
    size = std::max(size, std::abs(b[i]));
  }
  return size == 0 ? difference : difference / size;
}

}  // namespace colonnade::mamba
