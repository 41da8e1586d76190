# Compiles .cu files where nvcc is and LibTorch brings its CUDA run-time library; elsewhere there are none. nvcc is called
# by name: CMake's own CUDA language asks for a whole toolkit.

find_program(COLONNADE_NVCC nvcc HINTS ENV CUDA_HOME ${CMAKE_SOURCE_DIR}/.deps/cuda /usr/local/cuda PATH_SUFFIXES bin)
if(COLONNADE_TENSOR)
  file(GLOB COLONNADE_CUDART ${COLONNADE_TORCH_ROOT}/lib/libcudart.so.*)
endif()
if(COLONNADE_NVCC AND COLONNADE_CUDART)
  get_filename_component(COLONNADE_CUDA_INCLUDE ${COLONNADE_NVCC} REALPATH)
  get_filename_component(COLONNADE_CUDA_INCLUDE ${COLONNADE_CUDA_INCLUDE}/../../include ABSOLUTE)
else()
  message(STATUS "no nvcc: the plugins for CUDA are not built")
endif()

# colonnade_cuda_objects(RESULT): the object files of this folder's .cu files; empty where they cannot be compiled.
function(colonnade_cuda_objects result)
  set(${result} "" PARENT_SCOPE)
  if(NOT COLONNADE_NVCC OR NOT COLONNADE_CUDART OR NOT TARGET Colonnade::tensor)
    return()
  endif()
  file(GLOB kernels CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/*.cu)
  set(objects "")
  foreach(kernel IN LISTS kernels)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${kernel}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${COLONNADE_NVCC} -std=c++20 -O3 -lineinfo -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra
        -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]
        -MD -MF ${object}.d -c ${CMAKE_CURRENT_SOURCE_DIR}/${kernel} -o ${object}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${kernel}
      DEPFILE ${object}.d
      COMMENT "Compiling ${kernel}"
      VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  set(${result} ${objects} PARENT_SCOPE)
endfunction()

# The plugin's own sources see CUDA's headers, and wait for its kernels.
function(colonnade_needs_cuda_objects name)
  file(GLOB kernels RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/*.cu)
  list(TRANSFORM kernels PREPEND ${CMAKE_CURRENT_BINARY_DIR}/)
  list(TRANSFORM kernels APPEND .o)
  add_custom_target(${name}_kernels DEPENDS ${kernels})
  target_include_directories(plugin_${name}_objects SYSTEM PRIVATE ${COLONNADE_CUDA_INCLUDE})
  add_dependencies(plugin_${name}_objects ${name}_kernels)
  add_dependencies(plugin_${name} ${name}_kernels)
endfunction()
