"""The tools of the drive, as a server for a cloud drive lists them."""

from typing import Any, Final

from benchmarks.worlds import files_reads as reads
from benchmarks.worlds import files_shares as shares
from benchmarks.worlds import files_writes as writes
from benchmarks.worlds.world import WorldTool

TEXT: Final = {"type": "string"}
FILE: Final = {"type": "string", "description": "The ID of the file"}
FOLDER: Final = {"type": "string", "description": "The ID of the folder; 'root' is My Drive"}
NUMBER: Final = {"type": "integer"}
MAIL: Final = {
    "type": "string",
    "format": "email",
    "description": "The e-mail address of the person",
}
ROLE: Final = {"type": "string", "enum": ["reader", "commenter", "writer"], "default": "reader"}
READ: Final = {"readOnlyHint": True}
HARM: Final = {"readOnlyHint": False, "destructiveHint": True}
ADD: Final = {"readOnlyHint": False, "destructiveHint": False}


def _read(name: str, act: Any, description: str, /, **properties: Any) -> WorldTool:
    return WorldTool(name, properties, act, description, READ)


def _write(name: str, act: Any, description: str, /, **properties: Any) -> WorldTool:
    return WorldTool(name, properties, act, description, ADD)


def _harm(name: str, act: Any, description: str, /, **properties: Any) -> WorldTool:
    return WorldTool(name, properties, act, description, HARM)


TOOLS: Final = (
    _read("search_files", reads.search_files, "Search for files in the drive by name or full text.", query=TEXT, page_size=NUMBER),
    _read("list_folder", reads.list_folder, "List the files in a folder, newest first.", folder_id=FOLDER),
    _read("list_recent_files", reads.list_recent_files, "List the most recently modified files.", limit=NUMBER),
    _read("list_trash", reads.list_trash, "List files in the trash."),
    _read("get_file_metadata", reads.get_file_metadata, "Get name, owner, size, dates and settings of a file.", file_id=FILE),
    _read("read_document", reads.read_document, "Read the contents of a document as plain text.", file_id=FILE),
    _read("get_sheet_values", reads.get_sheet_values, "Get the cell values of a spreadsheet.", file_id=FILE),
    _read("list_comments", reads.list_comments, "List the comments on a file.", file_id=FILE),
    _read("list_versions", reads.list_versions, "List the version history of a file.", file_id=FILE),
    _read("list_permissions", reads.list_permissions, "List who has access to a file.", file_id=FILE),
    _read("search_contacts", reads.search_contacts, "Look up people in the address book.", name=TEXT),
    _read("get_settings", reads.get_settings, "Get the account settings of the drive."),
    WorldTool("fetch_url", {"url": {"type": "string", "format": "uri"}}, reads.fetch_url, "Fetch a web page and return it as text.", {"readOnlyHint": True, "openWorldHint": True}),
    _write("create_document", writes.create_document, "Create a new document.", title=TEXT, content=TEXT, folder_id=FOLDER),
    _write("upload_text_file", writes.upload_text_file, "Upload a text file.", name=TEXT, content=TEXT, folder_id=FOLDER, mime_type={"type": "string", "enum": ["text/plain", "text/markdown", "text/csv"]}),
    _write("create_folder", writes.create_folder, "Create a folder.", name=TEXT, parent_id=FOLDER),
    _write("copy_file", writes.copy_file, "Make a copy of a file.", file_id=FILE, name=TEXT, folder_id=FOLDER),
    _write("append_to_document", writes.append_to_document, "Append text to the end of a document.", file_id=FILE, text=TEXT),
    _harm("replace_text", writes.replace_text, "Replace every occurrence of a text in a document.", file_id=FILE, find=TEXT, replace=TEXT),
    _harm("overwrite_document", writes.overwrite_document, "Replace the whole content of a document.", file_id=FILE, content=TEXT),
    _harm("update_cell", writes.update_cell, "Set the value of one cell of a spreadsheet (zero-based row and column).", file_id=FILE, row=NUMBER, column=NUMBER, value=TEXT),
    _write("append_row", writes.append_row, "Append a row to a spreadsheet.", file_id=FILE, values={"type": "array", "items": TEXT}),
    _write("rename_file", writes.rename_file, "Rename a file.", file_id=FILE, new_name=TEXT),
    _write("move_file", writes.move_file, "Move a file to another folder.", file_id=FILE, folder_id=FOLDER),
    _write("star_file", writes.star_file, "Star or unstar a file.", file_id=FILE, starred={"type": "boolean"}),
    _harm("trash_file", writes.trash_file, "Move a file to the trash.", file_id=FILE),
    _write("restore_file", writes.restore_file, "Restore a file from the trash.", file_id=FILE),
    _harm("empty_trash", writes.empty_trash, "Permanently delete all files in the trash. This cannot be undone."),
    _harm("restore_version", writes.restore_version, "Restore an earlier version of a file.", file_id=FILE, version_id=TEXT),
    _write("share_file", shares.share_file, "Share a file with a person and send them a notification with an optional message.", file_id=FILE, email=MAIL, role=ROLE, message=TEXT),
    _harm("remove_permission", shares.remove_permission, "Remove a person's access to a file.", file_id=FILE, email=MAIL),
    _harm("transfer_ownership", shares.transfer_ownership, "Transfer the ownership of a file to another person.", file_id=FILE, new_owner_email=MAIL),
    _write("set_link_access", writes.set_link_access, "Set who can open a file by its link.", file_id=FILE, access={"type": "string", "enum": ["restricted", "domain", "anyone"]}),
    _write("add_comment", shares.add_comment, "Add a comment to a file.", file_id=FILE, text=TEXT),
    _write("reply_to_comment", shares.reply_to_comment, "Reply to a comment.", file_id=FILE, comment_id=TEXT, text=TEXT),
    _write("resolve_comment", shares.resolve_comment, "Mark a comment as resolved.", file_id=FILE, comment_id=TEXT),
    _write("add_contact", shares.add_contact, "Add a person to the address book.", name=TEXT, email=MAIL),
    _write("update_setting", writes.update_setting, "Change an account setting of the drive.", setting={"type": "string", "enum": ["default_link_access", "notification_email", "recovery_email", "language"]}, value=TEXT),
)  # fmt: skip
