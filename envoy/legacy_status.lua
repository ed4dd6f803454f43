-- Legacy routes answer with statuses that gRPC lacks (422, 413): the service names one in a header of its own, and here
-- it becomes the answer's. A native gRPC caller keeps that header, and the 200 that gRPC wants.
function envoy_on_response(response)
  local headers = response:headers()
  local status = headers:get("x-avatar-http-status")
  local kind = headers:get("content-type") or ""
  if status and status:find("^[2-5]%d%d$") and kind:sub(1, 16) ~= "application/grpc" then
    headers:replace(":status", status)
    headers:remove("x-avatar-http-status")
  end
end
