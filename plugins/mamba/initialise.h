#pragma once

#include "colonnade/random.h"
#include "colonnade/tensor/model.h"
#include "configuration.h"

namespace colonnade::mamba {

/// A fresh model with the published initialisation (that of the authors' code): embedding normal with deviation 0.02;
/// linears and the convolution uniform in +-1/sqrt(fan in), out_proj further divided by sqrt(layers); dt_proj uniform
/// in
/// +-1/sqrt(dt_rank), its bias such that softplus of it is log-uniform in [0.001, 0.1]; A_log = log(1..d_state), D and
/// norms 1, the convolution's bias uniform like its kernel, other biases 0. Every tensor draws from a stream named
/// after its site.
Model initialise(const Configuration& configuration, const RandomStream& random);

}  // namespace colonnade::mamba
