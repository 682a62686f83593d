// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The `ram` entry of the registry. It lives as long as the machine; what belongs to an attempt is
// in RamSource or RamLoader, which exist only while one runs.
#pragma once

#include "migration/ram/ram_format.h"
#include "migration/ram/ram_loader.h"
#include "migration/ram/ram_source.h"

#include <memory>

namespace godwit::migration {

class RamSection final : public LiveStateHandler {
public:
    explicit RamSection(Environment& env) : env_(env) {}

    /// Source: the attempt hands in what will serve the calls until cleanup().
    void begin(std::unique_ptr<RamSource> source) { source_ = std::move(source); }
    RamSource* source() const noexcept { return source_.get(); }

    Result<void> setup(StreamWriter& out, const SourceContext&) override
    {
        return source_->setup(out);
    }
    Result<Pending> pending_estimate() override { return source_->pending_estimate(); }
    Result<Pending> pending_exact() override { return source_->pending_exact(); }
    Result<Progress> iterate(StreamWriter& out, Budget& budget) override
    {
        return source_->iterate(out, budget);
    }
    Result<void> complete_precopy(StreamWriter& out) override { return source_->complete(out); }
    Result<void> complete_postcopy(StreamWriter& out) override { return source_->complete(out); }
    void cleanup() noexcept override { source_.reset(); }

    Result<void> load_setup(const DestinationContext&) override
    {
        loader_ = std::make_unique<RamLoader>(env_);
        return loader_->setup();
    }
    Result<void> load(StreamReader& in, stream::SectionType, Version version) override
    {
        if (version != kRamVersion)
            return Error(Errc::BadFormat, "ram: version " + std::to_string(version) + " is not 4");
        return loader_->load(in);
    }
    void load_cleanup() noexcept override { loader_.reset(); }

private:
    Environment& env_;
    std::unique_ptr<RamSource> source_;
    std::unique_ptr<RamLoader> loader_;
};

}  // namespace godwit::migration
