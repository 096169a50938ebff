/* SPDX-License-Identifier: Apache-2.0
 *
 * Kafka's error codes: the only errors that cross the wire, and the only ones used above io/.
 *
 * One table says name, code, whether a Java client retries (its RetriableException set decides how
 * clients behave, so it is a fact to know when choosing a code), and the sentence that is sent when
 * the place that failed has nothing more precise to say. Codes and names are those of
 * org.apache.kafka.common.protocol.Errors in kafka-clients 4.3.1; the sentences are our own.
 */
#pragma once

#include "io/base.h"

/* X(name, code, retriable, sentence) */
/* clang-format off */
#define ERR_TABLE(X)                                                                               \
    X(UNKNOWN_SERVER_ERROR, -1, false,                                                             \
      "the broker met an error it did not expect; its log says which")                             \
    X(NONE, 0, false, "no error")                                                                  \
    X(OFFSET_OUT_OF_RANGE, 1, false, "the offset lies outside the log of this partition")          \
    X(CORRUPT_MESSAGE, 2, true,                                                                    \
      "the record batch is damaged: its checksum or its framing is wrong")                         \
    X(UNKNOWN_TOPIC_OR_PARTITION, 3, true, "this broker has no such topic or partition")           \
    X(INVALID_FETCH_SIZE, 4, false, "the fetch size is not valid")                                 \
    X(LEADER_NOT_AVAILABLE, 5, true, "the partition has no leader at this moment")                 \
    X(NOT_LEADER_OR_FOLLOWER, 6, true,                                                             \
      "this broker is not the leader, or not a replica, of the partition")                         \
    X(REQUEST_TIMED_OUT, 7, true, "the request was not completed within its time limit")           \
    X(BROKER_NOT_AVAILABLE, 8, false, "the broker is not available")                               \
    X(REPLICA_NOT_AVAILABLE, 9, true, "the replica is not available for this partition")           \
    X(MESSAGE_TOO_LARGE, 10, false, "the record batch is larger than max.message.bytes")           \
    X(STALE_CONTROLLER_EPOCH, 11, false, "the controller has moved to another broker")             \
    X(OFFSET_METADATA_TOO_LARGE, 12, false, "the metadata string of the offset is too long")       \
    X(NETWORK_EXCEPTION, 13, true, "the connection was lost before the answer arrived")            \
    X(COORDINATOR_LOAD_IN_PROGRESS, 14, true, "the coordinator is still loading its state")        \
    X(COORDINATOR_NOT_AVAILABLE, 15, true, "the coordinator is not available")                     \
    X(NOT_COORDINATOR, 16, true,                                                                   \
      "this broker does not coordinate that group or transactional id")                            \
    X(INVALID_TOPIC_EXCEPTION, 17, false,                                                          \
      "the topic name is not valid, or the topic is internal")                                     \
    X(RECORD_LIST_TOO_LARGE, 18, false, "the record batch is larger than a log segment")           \
    X(NOT_ENOUGH_REPLICAS, 19, true,                                                               \
      "fewer replicas are in sync than min.insync.replicas asks for")                              \
    X(NOT_ENOUGH_REPLICAS_AFTER_APPEND, 20, true,                                                  \
      "the records are in the log, but on too few in-sync replicas")                               \
    X(INVALID_REQUIRED_ACKS, 21, false, "acks must be 0, 1 or -1")                                 \
    X(ILLEGAL_GENERATION, 22, false, "the group is in another generation")                         \
    X(INCONSISTENT_GROUP_PROTOCOL, 23, false,                                                      \
      "the member shares no protocol with the other members of the group")                         \
    X(INVALID_GROUP_ID, 24, false, "the group id is not valid")                                    \
    X(UNKNOWN_MEMBER_ID, 25, false, "the group has no such member")                                \
    X(INVALID_SESSION_TIMEOUT, 26, false,                                                          \
      "the session timeout is outside the range this broker allows")                               \
    X(REBALANCE_IN_PROGRESS, 27, false,                                                            \
      "the group is rebalancing and the member has to join again")                                 \
    X(INVALID_COMMIT_OFFSET_SIZE, 28, false, "the committed offsets are too large for one batch")  \
    X(TOPIC_AUTHORIZATION_FAILED, 29, false, "not authorized for this topic")                      \
    X(GROUP_AUTHORIZATION_FAILED, 30, false, "not authorized for this group")                      \
    X(CLUSTER_AUTHORIZATION_FAILED, 31, false, "not authorized for this cluster operation")        \
    X(INVALID_TIMESTAMP, 32, false, "a record's timestamp is outside the accepted range")          \
    X(UNSUPPORTED_SASL_MECHANISM, 33, false, "this SASL mechanism is not enabled")                 \
    X(ILLEGAL_SASL_STATE, 34, false, "the request does not fit the state of the authentication")   \
    X(UNSUPPORTED_VERSION, 35, false, "this version of the request is not supported")              \
    X(TOPIC_ALREADY_EXISTS, 36, false, "a topic with this name already exists")                    \
    X(INVALID_PARTITIONS, 37, false, "the number of partitions is not valid")                      \
    X(INVALID_REPLICATION_FACTOR, 38, false,                                                       \
      "the replication factor is below 1 or above the number of brokers")                          \
    X(INVALID_REPLICA_ASSIGNMENT, 39, false, "the replica assignment is not valid")                \
    X(INVALID_CONFIG, 40, false, "the configuration is not valid")                                 \
    X(NOT_CONTROLLER, 41, true, "this broker is not the controller")                               \
    X(INVALID_REQUEST, 42, false, "the request is malformed")                                      \
    X(UNSUPPORTED_FOR_MESSAGE_FORMAT, 43, false,                                                   \
      "the message format does not support this request")                                          \
    X(POLICY_VIOLATION, 44, false, "a policy of this broker forbids the request")                  \
    X(OUT_OF_ORDER_SEQUENCE_NUMBER, 45, false,                                                     \
      "the batch does not follow the producer's last sequence number")                             \
    X(DUPLICATE_SEQUENCE_NUMBER, 46, false, "the sequence number was used before")                 \
    X(INVALID_PRODUCER_EPOCH, 47, false, "a producer with a newer epoch exists")                   \
    X(INVALID_TXN_STATE, 48, false, "the transaction is not in a state that allows this")          \
    X(INVALID_PRODUCER_ID_MAPPING, 49, false,                                                      \
      "the producer id does not belong to this transactional id")                                  \
    X(INVALID_TRANSACTION_TIMEOUT, 50, false,                                                      \
      "the transaction timeout is above transaction.max.timeout.ms")                               \
    X(CONCURRENT_TRANSACTIONS, 51, true, "another operation on this transaction is in progress")   \
    X(TRANSACTION_COORDINATOR_FENCED, 52, false,                                                   \
      "the marker comes from a former transaction coordinator")                                    \
    X(TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 53, false,                                            \
      "not authorized for this transactional id")                                                  \
    X(SECURITY_DISABLED, 54, false, "security is not enabled on this broker")                      \
    X(OPERATION_NOT_ATTEMPTED, 55, false,                                                          \
      "not attempted, because another operation of the same request failed")                       \
    X(KAFKA_STORAGE_ERROR, 56, true,                                                               \
      "the partition's log directory is full, or offline after a disk error")                      \
    X(LOG_DIR_NOT_FOUND, 57, false, "this broker has no such log directory")                       \
    X(SASL_AUTHENTICATION_FAILED, 58, false, "authentication failed")                              \
    X(UNKNOWN_PRODUCER_ID, 59, false, "nothing is known of this producer id")                      \
    X(REASSIGNMENT_IN_PROGRESS, 60, false, "the partition is being reassigned")                    \
    X(DELEGATION_TOKEN_AUTH_DISABLED, 61, false, "delegation tokens are not enabled")              \
    X(DELEGATION_TOKEN_NOT_FOUND, 62, false, "there is no such delegation token")                  \
    X(DELEGATION_TOKEN_OWNER_MISMATCH, 63, false,                                                  \
      "the principal neither owns nor may renew this token")                                       \
    X(DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, 64, false,                                             \
      "delegation tokens cannot be managed over this kind of connection")                          \
    X(DELEGATION_TOKEN_AUTHORIZATION_FAILED, 65, false,                                            \
      "not authorized for this delegation token")                                                  \
    X(DELEGATION_TOKEN_EXPIRED, 66, false, "the delegation token has expired")                     \
    X(INVALID_PRINCIPAL_TYPE, 67, false, "this type of principal is not supported")                \
    X(NON_EMPTY_GROUP, 68, false, "the group still has members")                                   \
    X(GROUP_ID_NOT_FOUND, 69, false, "there is no such group")                                     \
    X(FETCH_SESSION_ID_NOT_FOUND, 70, true, "there is no such fetch session")                      \
    X(INVALID_FETCH_SESSION_EPOCH, 71, true, "the fetch session is at another epoch")              \
    X(LISTENER_NOT_FOUND, 72, true, "the leader has no listener of the name that was used here")   \
    X(TOPIC_DELETION_DISABLED, 73, false, "deletion of topics is switched off")                    \
    X(FENCED_LEADER_EPOCH, 74, true,                                                               \
      "the leader epoch of the request is older than the partition's")                             \
    X(UNKNOWN_LEADER_EPOCH, 75, true,                                                              \
      "the leader epoch of the request is newer than the partition's")                             \
    X(UNSUPPORTED_COMPRESSION_TYPE, 76, false,                                                     \
      "the compression type does not exist or does not go with this request version")              \
    X(STALE_BROKER_EPOCH, 77, false, "the broker has registered anew since")                       \
    X(OFFSET_NOT_AVAILABLE, 78, true, "the new leader does not know its high watermark yet")       \
    X(MEMBER_ID_REQUIRED, 79, false, "the member has to join again with the id it was given")      \
    X(PREFERRED_LEADER_NOT_AVAILABLE, 80, true, "the preferred leader is not available")           \
    X(GROUP_MAX_SIZE_REACHED, 81, false, "the group is full")                                      \
    X(FENCED_INSTANCE_ID, 82, false, "another member has taken over this group.instance.id")       \
    X(ELIGIBLE_LEADERS_NOT_AVAILABLE, 83, true,                                                    \
      "no replica that may lead the partition is available")                                       \
    X(ELECTION_NOT_NEEDED, 84, true, "the partition needs no election")                            \
    X(NO_REASSIGNMENT_IN_PROGRESS, 85, false, "the partition is not being reassigned")             \
    X(GROUP_SUBSCRIBED_TO_TOPIC, 86, false,                                                        \
      "the group is subscribed to the topic, so its offsets stay")                                 \
    X(INVALID_RECORD, 87, false, "the record batch is not valid")                                  \
    X(UNSTABLE_OFFSET_COMMIT, 88, true, "offsets of an open transaction are pending")              \
    X(THROTTLING_QUOTA_EXCEEDED, 89, true, "the quota for this kind of request is used up")        \
    X(PRODUCER_FENCED, 90, false, "a newer producer uses this transactional id")                   \
    X(RESOURCE_NOT_FOUND, 91, false, "there is no such resource")                                  \
    X(DUPLICATE_RESOURCE, 92, false, "the resource is named twice")                                \
    X(UNACCEPTABLE_CREDENTIAL, 93, false, "the credential does not meet the requirements")         \
    X(INCONSISTENT_VOTER_SET, 94, false, "the two sides know different sets of voters")            \
    X(INVALID_UPDATE_VERSION, 95, false, "the update is based on another version of the state")    \
    X(FEATURE_UPDATE_FAILED, 96, false, "the feature levels could not be changed")                 \
    X(PRINCIPAL_DESERIALIZATION_FAILURE, 97, false, "the forwarded principal could not be read")   \
    X(SNAPSHOT_NOT_FOUND, 98, false, "there is no such snapshot")                                  \
    X(POSITION_OUT_OF_RANGE, 99, false, "the position lies outside the snapshot")                  \
    X(UNKNOWN_TOPIC_ID, 100, true, "this broker has no topic with this id")                        \
    X(DUPLICATE_BROKER_REGISTRATION, 101, false, "the broker id is in use")                        \
    X(BROKER_ID_NOT_REGISTERED, 102, false, "the broker id is not registered")                     \
    X(INCONSISTENT_TOPIC_ID, 103, true, "the topic id is not that of the log")                     \
    X(INCONSISTENT_CLUSTER_ID, 104, false, "the request is meant for another cluster")             \
    X(TRANSACTIONAL_ID_NOT_FOUND, 105, false, "there is no such transactional id")                 \
    X(FETCH_SESSION_TOPIC_ID_ERROR, 106, true,                                                     \
      "the fetch session mixes topic names and topic ids")                                         \
    X(INELIGIBLE_REPLICA, 107, false,                                                              \
      "the new in-sync set names a replica that may not be in it")                                 \
    X(NEW_LEADER_ELECTED, 108, false, "the change was made, and it moved the leader")              \
    X(OFFSET_MOVED_TO_TIERED_STORAGE, 109, false, "the offset has moved to tiered storage")        \
    X(FENCED_MEMBER_EPOCH, 110, false, "the member was fenced and has to join again")              \
    X(UNRELEASED_INSTANCE_ID, 111, false, "another member still holds this instance id")           \
    X(UNSUPPORTED_ASSIGNOR, 112, false, "the group does not support this assignor")                \
    X(STALE_MEMBER_EPOCH, 113, false,                                                              \
      "the member has to learn its new epoch by a heartbeat first")                                \
    X(MISMATCHED_ENDPOINT_TYPE, 114, false, "the request went to an endpoint of another type")     \
    X(UNSUPPORTED_ENDPOINT_TYPE, 115, false, "this type of endpoint is not supported")             \
    X(UNKNOWN_CONTROLLER_ID, 116, false, "there is no such controller")                            \
    X(UNKNOWN_SUBSCRIPTION_ID, 117, false,                                                         \
      "the telemetry subscription is unknown or out of date")                                      \
    X(TELEMETRY_TOO_LARGE, 118, false, "the telemetry is larger than this broker accepts")         \
    X(INVALID_REGISTRATION, 119, false, "the registration of the broker is not valid")             \
    X(TRANSACTION_ABORTABLE, 120, false,                                                           \
      "the transaction has failed and can be aborted to go on")                                    \
    X(INVALID_RECORD_STATE, 121, false, "the record is not in a state that can be acknowledged")   \
    X(SHARE_SESSION_NOT_FOUND, 122, true, "there is no such share session")                        \
    X(INVALID_SHARE_SESSION_EPOCH, 123, true, "the share session is at another epoch")             \
    X(FENCED_STATE_EPOCH, 124, false, "the state of the share group is at another epoch")          \
    X(INVALID_VOTER_KEY, 125, false, "the voter's key is not that of this replica")                \
    X(DUPLICATE_VOTER, 126, false, "the voter is in the set already")                              \
    X(VOTER_NOT_FOUND, 127, false, "the voter is not in the set")                                  \
    X(INVALID_REGULAR_EXPRESSION, 128, false, "the regular expression is not valid")               \
    X(REBOOTSTRAP_REQUIRED, 129, false,                                                            \
      "the client's metadata is too old and it has to bootstrap again")                            \
    X(STREAMS_INVALID_TOPOLOGY, 130, false, "the topology is not valid")                           \
    X(STREAMS_INVALID_TOPOLOGY_EPOCH, 131, false, "the epoch of the topology is not valid")        \
    X(STREAMS_TOPOLOGY_FENCED, 132, false, "the topology is out of date")                          \
    X(SHARE_SESSION_LIMIT_REACHED, 133, true, "there are too many share sessions")
/* clang-format on */

enum err {
#define X(name, code, retriable, sentence) ERR_##name = (code),
    ERR_TABLE(X)
#undef X
};

/* What went wrong, for one partition, group or request: a code that is an enum err, and a sentence
 * for the human behind the client. `text` is a constant or is owned by whoever filled this in; NULL
 * means err_sentence(code). code 0 is success. */
struct failure {
    int16_t code;
    const char *text;
};

/* For any value: a code this table does not know is named "UNKNOWN_ERROR_CODE". */
const char *err_name(int code);
const char *err_sentence(int code);
bool err_retriable(int code);

static inline struct failure failure_of(enum err code, const char *text)
{
    return (struct failure){.code = (int16_t)code, .text = text};
}
