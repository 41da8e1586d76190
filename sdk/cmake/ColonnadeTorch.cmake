# Finds a LibTorch to compile and link for the CPU, and makes the imported target Colonnade::torch. LibTorch's own package
# file is not used: it asks for a CUDA toolkit whenever LibTorch was built with one.
#
#   colonnade_find_torch([REQUIRED] [HINTS folder...])
#
# Searched in this order: Torch_ROOT (variable, environment), CMAKE_PREFIX_PATH (both), HINTS. A folder counts if it has
# include/ATen and lib/libtorch_cpu.so. Sets in the caller's scope
#   COLONNADE_TORCH_ROOT      the folder
#   COLONNADE_TORCH_VERSION   with the CUDA tag where known, such as 2.11.0+cu130

function(colonnade_torch_version root result)
  set(version "")
  if(EXISTS ${root}/version.py)
    file(STRINGS ${root}/version.py line REGEX "^__version__ = ")
    string(REGEX REPLACE "^__version__ = '([^']*)'.*" "\\1" version "${line}")
  elseif(EXISTS ${root}/build-version)
    file(STRINGS ${root}/build-version version LIMIT_COUNT 1)
  else()
    file(STRINGS ${root}/include/torch/csrc/api/include/torch/version.h line REGEX "define TORCH_VERSION \"")
    string(REGEX REPLACE ".*\"([^\"]*)\".*" "\\1" version "${line}")
  endif()
  if(NOT version)
    message(FATAL_ERROR "LibTorch in ${root} does not say its version (looked at version.py, build-version, version.h)")
  endif()
  set(${result} "${version}" PARENT_SCOPE)
endfunction()

function(colonnade_find_torch)
  cmake_parse_arguments(PARSE_ARGV 0 arg "REQUIRED" "" "HINTS")
  set(prefixes ${Torch_ROOT} $ENV{Torch_ROOT} ${CMAKE_PREFIX_PATH})
  string(REPLACE ":" ";" environment_prefixes "$ENV{CMAKE_PREFIX_PATH}")
  list(APPEND prefixes ${environment_prefixes} ${arg_HINTS})

  set(root "")
  foreach(prefix IN LISTS prefixes)
    if(EXISTS ${prefix}/include/ATen/core/Tensor.h AND EXISTS ${prefix}/lib/libtorch_cpu.so)
      set(root ${prefix})
      break()
    endif()
  endforeach()
  if(NOT root)
    if(arg_REQUIRED)
      list(JOIN prefixes ", " searched)
      message(FATAL_ERROR "no LibTorch found (include/ATen and lib/libtorch_cpu.so); searched: ${searched}. "
        "`./bootstrap build` fetches one; or set Torch_ROOT to one; or -DCOLONNADE_TENSOR=OFF builds without.")
    endif()
    return()
  endif()
  get_filename_component(root ${root} ABSOLUTE)
  colonnade_torch_version(${root} version)

  # Libraries of the old and the new std::string ABI do not link with one another; the names in libc10 tell which it is.
  file(STRINGS ${root}/lib/libc10.so new_abi REGEX "__cxx11" LIMIT_COUNT 1)
  set(cxx11_abi 0)
  if(new_abi)
    set(cxx11_abi 1)
  endif()

  add_library(Colonnade::c10 SHARED IMPORTED GLOBAL)
  set_target_properties(Colonnade::c10 PROPERTIES IMPORTED_LOCATION ${root}/lib/libc10.so IMPORTED_SONAME libc10.so)
  add_library(Colonnade::torch_cpu SHARED IMPORTED GLOBAL)
  set_target_properties(Colonnade::torch_cpu PROPERTIES
    IMPORTED_LOCATION ${root}/lib/libtorch_cpu.so IMPORTED_SONAME libtorch_cpu.so)

  # -fopenmp: at::parallel_for is a template that runs on one thread in code compiled without it.
  add_library(Colonnade::torch INTERFACE IMPORTED GLOBAL)
  set_target_properties(Colonnade::torch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${root}/include;${root}/include/torch/csrc/api/include"
    INTERFACE_COMPILE_DEFINITIONS
      "_GLIBCXX_USE_CXX11_ABI=${cxx11_abi};COLONNADE_TORCH_VERSION=\"${version}\""
    INTERFACE_COMPILE_OPTIONS "-fopenmp;-ffile-prefix-map=${root}=libtorch"
    INTERFACE_LINK_OPTIONS "-fopenmp;-Wl,-rpath-link,${root}/lib"
    INTERFACE_LINK_LIBRARIES "Colonnade::torch_cpu;Colonnade::c10")
  set(COLONNADE_TORCH_ROOT ${root} PARENT_SCOPE)
  set(COLONNADE_TORCH_VERSION ${version} PARENT_SCOPE)
  message(STATUS "LibTorch ${version} in ${root}")
endfunction()
