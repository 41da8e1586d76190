#include "colonnade/tensor/drawn_masks.h"

namespace colonnade {

DrawnMasks::~DrawnMasks() = default;

}  // namespace colonnade
