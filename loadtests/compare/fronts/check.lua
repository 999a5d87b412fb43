-- What a check by hand of requests for inference costs in Lua: the JSON is parsed; inputs have names
-- that a model takes and as much data as their shapes say; classification is not asked for.
-- It reads no binary tensors but their sizes, writes nothing anew, and sees nothing of gRPC.
local cjson = require "cjson"
cjson.decode_max_depth(16)

local MAX_JSON, MAX_DIM = 1048576, 65536
local INPUTS = { TEXT = "BYTES", image = "FP32" }

local function count(data)
  local found = 0
  for _, each in ipairs(data) do
    found = found + (type(each) == "table" and count(each) or 1)
  end
  return found
end

local function elements(shape)
  local product = 1
  for _, size in ipairs(shape) do
    if type(size) ~= "number" or size < 0 or size > MAX_DIM then return nil end
    product = product * size
  end
  return product
end

-- Gives the reason why a body is refused, or nil. `json_bytes` is the length of the JSON in front of
-- binary tensors; nil where there are none.
local function refusal(body, json_bytes)
  if not body or #body == 0 then return "no body" end
  local length = json_bytes or #body
  if length > MAX_JSON or length > #body then return "the JSON is too long" end
  local read, request = pcall(cjson.decode, body:sub(1, length))
  if not read or type(request) ~= "table" or type(request.inputs) ~= "table" then
    return "this is no request"
  end
  local binary = 0
  for _, input in ipairs(request.inputs) do
    if INPUTS[input.name] ~= input.datatype then return "no such input" end
    local expected = elements(input.shape)
    if not expected then return "no such shape" end
    if input.data then
      if count(input.data) ~= expected then return "more or less data than the shape says" end
    else
      binary = binary + (input.parameters and input.parameters.binary_data_size or 0)
    end
  end
  if binary ~= #body - length then return "more or less data than the request says" end
  for _, output in ipairs(request.outputs or {}) do
    if output.parameters and output.parameters.classification then return "no classification" end
  end
end

return { refusal = refusal }
