// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The question behind a handover that broke, and its answer.
#include "migration/fate.h"

#include "io/memory_channel.h"
#include "migration/stream/channel_stream.h"
#include "migration/stream/writer.h"

#include <gtest/gtest.h>
#include <thread>

namespace godwit::migration {
namespace {

// Somebody is asked with `asked` who has the ticket `ours` and says `fate`.
struct Talk {
    Result<Fate> heard;
    Result<bool> was_ours;
};

Talk talk(const Ticket& asked, const std::optional<Ticket>& ours, Fate fate)
{
    auto [source, destination] = io::make_memory_channels().value();
    Result<bool> was_ours = false;
    std::thread answering([&, there = destination.get()] {
        stream::ChannelSource bytes(*there);
        stream::StreamReader in(bytes, 64);
        ASSERT_EQ(in.get_be32().value(), kQuestionMagic);
        was_ours = answer_question(*there, in, ours, fate);
    });
    auto heard = ask_fate(*source, asked);
    answering.join();
    return {std::move(heard), std::move(was_ours)};
}

TEST(Fate, IsToldToTheHolderOfTheTicket)
{
    const Ticket ticket = make_ticket().value();
    for (const Fate fate : {Fate::Started, Fate::Refused}) {
        const Talk said = talk(ticket, ticket, fate);
        EXPECT_EQ(said.heard.value(), fate);
        EXPECT_TRUE(said.was_ours.value());
    }
}

TEST(Fate, IsUnknownToEverybodyElse)
{
    const Ticket ticket = make_ticket().value();
    Ticket other = ticket;
    other.back() ^= std::byte{1};
    const Talk mistaken = talk(other, ticket, Fate::Refused);
    EXPECT_EQ(mistaken.heard.value(), Fate::Unknown);
    EXPECT_FALSE(mistaken.was_ours.value());
    // A program that had no such migration.
    EXPECT_EQ(talk(Ticket{}, std::nullopt, Fate::Refused).heard.value(), Fate::Unknown);
}

TEST(Fate, TicketsDiffer)
{
    EXPECT_NE(make_ticket().value(), make_ticket().value());
}

TEST(Fate, AnAnswerThatMakesNoSenseOrEndsIsAnError)
{
    stream::StreamWriter right;
    right.put_be32(kQuestionMagic);
    right.put_u8(1);
    const std::vector<std::byte> whole = right.take();
    std::vector<std::vector<std::byte>> answers;
    for (std::size_t length = 0; length < whole.size(); ++length)
        answers.emplace_back(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    answers.push_back(whole);
    answers.back().back() = std::byte{3};
    answers.push_back(whole);
    answers.back().front() = std::byte{0};
    for (const auto& answer : answers) {
        auto [source, destination] = io::make_memory_channels().value();
        ASSERT_TRUE(destination->write_all(answer));
        ASSERT_TRUE(destination->shutdown(io::Shutdown::Write));
        EXPECT_FALSE(ask_fate(*source, Ticket{}));
    }
}

}  // namespace
}  // namespace godwit::migration
