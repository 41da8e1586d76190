#pragma once

#include "colonnade/op.h"

// The plugin's ops; what each does is said where plugin.cpp declares it.
namespace colonnade::nullu {

Value truncate(OpContext& context);
Value contrasts(OpContext& context);
Value project(OpContext& context);

}  // namespace colonnade::nullu
