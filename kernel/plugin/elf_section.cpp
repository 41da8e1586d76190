#include "kernel/plugin/elf_section.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "colonnade/error.h"
#include "kernel/store/files.h"

namespace colonnade::host {

namespace {

#if defined(__x86_64__)
constexpr Elf64_Half host_machine = EM_X86_64;
constexpr const char* host_machine_name = "x86-64";
#elif defined(__aarch64__)
constexpr Elf64_Half host_machine = EM_AARCH64;
constexpr const char* host_machine_name = "AArch64";
#else
#error "Colonnade runs on x86-64 and AArch64"
#endif

constexpr std::uint64_t most_sections = 1 << 16;
constexpr std::uint64_t most_name_bytes = 1 << 20;
constexpr std::uint64_t most_section_bytes = 1 << 16;

class ElfFile {
 public:
  explicit ElfFile(const std::filesystem::path& path)
      : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    struct stat status {};
    if (!descriptor_.is_open() || ::fstat(descriptor_.number(), &status) != 0) throw_file_error("open", path, errno);
    if (!S_ISREG(status.st_mode)) refuse("is no regular file");
    size_ = static_cast<std::uint64_t>(status.st_size);
  }

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorKind::environment, fmt::format("{} {}", path_.string(), why));
  }

  void read(void* out, std::uint64_t size, std::uint64_t offset, const char* what) const {
    if (offset > size_ || size_ - offset < size) {
      refuse(
          fmt::format("is cut off or damaged: its {} should lie at byte {}, and the file has {}", what, offset, size_));
    }
    if (!read_exactly(descriptor_.number(), out, size, offset)) refuse(fmt::format("cannot be read ({})", what));
  }

 private:
  std::filesystem::path path_;
  FileDescriptor descriptor_;
  std::uint64_t size_ = 0;
};

Elf64_Ehdr read_header(const ElfFile& file) {
  unsigned char identity[EI_NIDENT];
  file.read(identity, sizeof(identity), 0, "ELF header");
  if (std::memcmp(identity, ELFMAG, SELFMAG) != 0)
    file.refuse("is no shared object (it does not begin as an ELF file)");
  if (identity[EI_CLASS] != ELFCLASS64 || identity[EI_DATA] != ELFDATA2LSB) {
    file.refuse("is no 64-bit little-endian ELF file");
  }
  Elf64_Ehdr header;
  file.read(&header, sizeof(header), 0, "ELF header");
  if (header.e_type != ET_DYN) file.refuse("is an ELF file but no shared object");
  if (header.e_machine != host_machine)
    file.refuse(fmt::format("is for another machine than this one ({})", host_machine_name));
  if (header.e_shoff == 0) file.refuse("has no section headers; do not remove them (sstrip), plain strip keeps them");
  if (header.e_shentsize != sizeof(Elf64_Shdr)) file.refuse("is damaged: its section headers have an unknown size");
  return header;
}

std::vector<Elf64_Shdr> read_section_headers(const ElfFile& file, const Elf64_Ehdr& header, std::uint64_t& names) {
  Elf64_Shdr first;
  file.read(&first, sizeof(first), header.e_shoff, "first section header");
  // Where the numbers do not fit into the ELF header, they stand in the first section header.
  const std::uint64_t count = header.e_shnum != 0 ? header.e_shnum : first.sh_size;
  names = header.e_shstrndx != SHN_XINDEX ? header.e_shstrndx : first.sh_link;
  if (count == 0 || count > most_sections) file.refuse(fmt::format("is damaged: it claims to have {} sections", count));
  if (names >= count) file.refuse("is damaged: its section names lie in a section it does not have");
  std::vector<Elf64_Shdr> sections(count);
  file.read(sections.data(), count * sizeof(Elf64_Shdr), header.e_shoff, "section headers");
  return sections;
}

}  // namespace

std::optional<std::string> read_elf_section(const std::filesystem::path& path, const std::string& section) {
  const ElfFile file(path);
  std::uint64_t names_index = 0;
  const std::vector<Elf64_Shdr> sections = read_section_headers(file, read_header(file), names_index);
  const Elf64_Shdr& names_header = sections[names_index];
  if (names_header.sh_type != SHT_STRTAB || names_header.sh_size > most_name_bytes) {
    file.refuse("is damaged: its section names are no table of names");
  }
  std::string names(names_header.sh_size, '\0');
  file.read(names.data(), names.size(), names_header.sh_offset, "table of section names");
  for (const Elf64_Shdr& header : sections) {
    if (header.sh_name >= names.size() || header.sh_type != SHT_PROGBITS) continue;
    // The table ends in a zero in a sound file; c_str() adds one to a damaged one.
    if (section != names.c_str() + header.sh_name) continue;
    if (header.sh_size > most_section_bytes) file.refuse(fmt::format("has a section {} of impossible size", section));
    std::string bytes(header.sh_size, '\0');
    file.read(bytes.data(), bytes.size(), header.sh_offset, section.c_str());
    return bytes;
  }
  return std::nullopt;
}

}  // namespace colonnade::host
