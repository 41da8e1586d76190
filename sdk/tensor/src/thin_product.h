// Products of a few rows with a matrix that lies in memory: what decoding spends its time on, bound by reading the
// matrix.
#pragma once

#include "colonnade/tensor/tensor.h"

namespace colonnade {

// Whether `thin_product` may stand for at::linear: few rows of fp32 on a processor with AVX2, a dense matrix of fp32,
// fp16 or bf16, and no gradients wanted.
bool is_thin_product(const Tensor& x, const Tensor& weight, const Tensor& bias);

// x Wᵀ + b in fp32, x [..., in], W [out, in]. W is read once, in memory's order, its rows shared among the threads;
// each sum is taken in one order, whatever their number.
Tensor thin_product(const Tensor& x, const Tensor& weight, const Tensor& bias);

}  // namespace colonnade
