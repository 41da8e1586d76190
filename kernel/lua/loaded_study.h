#pragma once

#include <memory>

#include "kernel/lua/limits.h"
#include "kernel/study/study.h"

namespace colonnade::host {

// LoadedStudy::load with limits of one's own.
std::unique_ptr<LoadedStudy> load_study(const std::filesystem::path& study, const Settings& settings,
                                        const Catalogue& catalogue, const LuaLimits& limits);

}  // namespace colonnade::host
