local check = require "check"

core.register_action("check", { "http-req" }, function(txn)
  local length = txn.sf:req_fhdr("inference-header-content-length")
  local reason = check.refusal(txn.sf:req_body(), tonumber(length))
  if reason then txn:set_var("txn.refused", reason) end
end, 0)
