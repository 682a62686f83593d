// SPDX-License-Identifier: LGPL-2.1-or-later
//
// CPU features by name: which bit of which CPUID register each is.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godwit::accel::kvm {

/// A 32-bit register full of feature bits. The digits are leaf and, behind it, subleaf.
enum class FeatureWord : unsigned {
    Leaf1Edx,
    Leaf1Ecx,
    Leaf6Eax,
    Leaf7Ebx,
    Leaf7Ecx,
    Leaf7Edx,
    Leaf71Eax,
    Leaf71Edx,
    Leaf72Edx,
    LeafD1Eax,
    Leaf12Eax,
    Leaf12Ebx,
    Leaf121Eax,
    Leaf14Ecx,
    Leaf24Ebx,
    KvmEax,
    KvmEdx,
    Ext1Edx,
    Ext1Ecx,
    Ext7Ebx,
    Ext7Edx,
    Ext8Ebx,
    ExtAEdx,
    Ext21Eax,
    Ext22Eax,
    CentaurEdx,
    ArchCap,  ///< low half of MSR 0x10a
};
inline constexpr std::size_t kFeatureWords = static_cast<std::size_t>(FeatureWord::ArchCap) + 1;

enum class CpuidRegister : unsigned { Eax, Ebx, Ecx, Edx };

/// Where a word is found.
struct FeatureWordInfo {
    std::uint32_t leaf;
    std::uint32_t subleaf;
    CpuidRegister reg;
    bool msr = false;  ///< leaf is the number of an MSR
};
const FeatureWordInfo& feature_word_info(FeatureWord word) noexcept;

/// One value for each word.
class FeatureSet {
public:
    std::uint32_t& operator[](FeatureWord word) { return words_[static_cast<std::size_t>(word)]; }
    std::uint32_t operator[](FeatureWord word) const
    {
        return words_[static_cast<std::size_t>(word)];
    }
    bool operator==(const FeatureSet&) const = default;

private:
    std::array<std::uint32_t, kFeatureWords> words_{};
};

struct Feature {
    FeatureWord word;
    unsigned bit;
    std::string_view name;
};

/// All features with a name, QEMU's names, by word and bit. A name may stand for several bits.
std::span<const Feature> all_features() noexcept;

/// The bits a name stands for: none if it is unknown. Takes QEMU's alternative spellings too:
/// underscores for dashes, "sse3" for "pni", "sse4-1", "xd", "i64" ...
std::vector<Feature> find_features(std::string_view name);
/// The same name as -cpu help prints it, or "" if it is unknown.
std::string canonical_feature_name(std::string_view name);
/// Alternative spellings of `name` that query-cpu-model-expansion lists beside it.
std::vector<std::string> feature_aliases(std::string_view name);

bool has_feature(const FeatureSet& set, std::string_view name);

/// "CPUID.01H:ECX.pni [bit 0]", as QEMU names a bit in a warning.
std::string describe_feature_bit(FeatureWord word, unsigned bit);

}  // namespace godwit::accel::kvm
