// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The process: sockets, time, and the commands of the control socket.
#pragma once

#include "tests/devices/vfio-user-server/control.h"
#include "tests/devices/vfio-user-server/device.h"
#include "tests/devices/vfio-user-server/faults.h"
#include "tests/devices/vfio-user-server/migration.h"
#include "tests/devices/vfio-user-server/session.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

namespace godwit::vfio_user_server {

/// A socket in the file system that this process made.
struct SocketName {
    std::string path;
    dev_t device;
    ino_t inode;
};

struct ServerOptions {
    std::string socket_path;
    std::string control_path;  ///< "" = none
    DeviceOptions device;
    MigrationOptions migration;
    ProtocolOptions protocol;
    std::vector<Fault> faults;
    bool once = false;  ///< end when the first client has gone
};

/// One device for one client at a time. It keeps its state when the client goes; the next one may
/// go on or reset it.
class Server {
public:
    static Result<std::unique_ptr<Server>> create(ServerOptions options);
    ~Server();
    /// Until "quit", SIGTERM or SIGINT.
    Result<void> run();

private:
    Server(ServerOptions options, std::unique_ptr<Device> device);
    Result<void> listen();
    Result<UniqueFd> listen_at(const std::string& path);
    int poll_timeout_ms() const;
    void serve_ready();
    void accept_client();
    void serve_session(short events);
    void end_session(const Error& why);
    void serve_controls();

    std::optional<Json> execute(const Json& request);
    Json status() const;
    Json history() const;
    Json ring() const;
    Json start_engine(const Json& request);
    Json inject(const Json& request);
    std::optional<Json> wait(const Json& request);

    ServerOptions options_;
    std::unique_ptr<Device> device_;
    Faults faults_;
    Migration migration_;
    ProtocolCounters counters_;
    std::string session_end_;
    std::vector<SocketName> names_;
    UniqueFd listener_;
    UniqueFd control_listener_;
    UniqueFd signals_;
    std::unique_ptr<Session> session_;
    std::vector<std::unique_ptr<ControlClient>> controls_;
    bool quit_ = false;
};

}  // namespace godwit::vfio_user_server
